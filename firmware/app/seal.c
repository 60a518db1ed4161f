#include "seal.h"

#include <stddef.h>

#include "app_model.h"
#include "check.h"
#include "crc32.h"
#include "reply.h"
#include "text.h"

static bool sealed;
static uint32_t nonce_of_command;

static size_t length_of(const char *text)
{
    size_t length = 0U;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}

bool seal_open(const char **command, uint32_t *nonce)
{
    const char *cursor = *command;
    uint32_t crc;
    if (!text_read_hex(&cursor, &crc) || *cursor != ' ') {
        return false;
    }
    cursor++;
    if (crc32_update(0U, cursor, length_of(cursor)) != crc || !text_read_hex(&cursor, nonce) || *cursor != ' ') {
        return false;
    }
    *command = cursor + 1;
    return true;
}

void seal_begin(uint32_t nonce)
{
    sealed = true;
    nonce_of_command = nonce;
    text_check_restart();
}

void seal_end(void)
{
    text_write("m-tg-seal ");
    text_write_hex(nonce_of_command);
    reply_check(text_check());
    sealed = false;
}

void seal_ran(void)
{
    if (!sealed) {
        return;
    }
    const uint8_t choice = (uint8_t)app_model.current();
    check_t check = CHECK_OF_NOTHING;
    check_update(&check, app_model.build_id, length_of(app_model.build_id));
    check_update(&check, &choice, 1U);
    if (app_model.steps != NULL) {
        check_update_word(&check, app_model.steps());
    }
    if (app_model.thresholds != NULL) {
        app_model.thresholds->check(&check);
    }
    for (uint32_t i = 0U; i < app_model.inputs; i++) {
        const app_tensor_t tensor = app_model.input(i);
        check_update(&check, tensor.data, tensor.bytes);
    }
    text_write("m-tg-ran");
    reply_check(check);
}

void seal_gave(void)
{
    for (uint32_t i = 0U; sealed && i < app_model.outputs; i++) {
        const app_tensor_t tensor = app_model.output(i);
        check_t check = CHECK_OF_NOTHING;
        check_update(&check, tensor.data, tensor.bytes);
        text_write("m-tg-gave ");
        text_write_decimal(i);
        reply_check(check);
    }
}
