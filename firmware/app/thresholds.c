#include "thresholds.h"

#include <stdint.h>

#include "app_model.h"
#include "reply.h"
#include "text.h"

static void line(uint32_t index)
{
    text_write("m-tg-threshold ");
    text_write_decimal(index);
    text_write(" ");
    text_write(app_model.thresholds->names[index]);
    text_write(" ");
    text_write_hex((uint32_t)app_model.thresholds->get(index));
    reply_end();
}

void thresholds_list(void)
{
    for (uint32_t i = 0U; i < app_model.thresholds->count; i++) {
        line(i);
    }
}

void thresholds_check(check_t *sum)
{
    for (uint32_t i = 0U; i < app_model.thresholds->count; i++) {
        check_update_word(sum, (uint32_t)app_model.thresholds->get(i));
    }
}

static void set(const char *arguments)
{
    uint32_t index;
    uint32_t code;
    if (!text_read_decimal(&arguments, &index) || !text_read_hex(&arguments, &code) || !text_at_end(arguments)) {
        reply("e-[tg-threshold wants: threshold code]");
        return;
    }
    /* Two's complement, on every compiler supported here. */
    if (index >= app_model.thresholds->count || !app_model.thresholds->set(index, (int32_t)code)) {
        reply("e-[no such threshold or code]");
        return;
    }
    line(index);
}

bool thresholds_command(const char *command)
{
    if (!text_takes_word(&command, "tg-threshold")) {
        return false;
    }
    set(command);
    return true;
}
