#include "wakeword.h"

#include <stddef.h>
#include <string.h>

#include "app_model.h"
#include "board.h"

#define FRAME_CODES FEATURES_CHANNELS
#define KEPT_FRAMES (WAKEWORD_FRAMES - WAKEWORD_STEP) /* what one input has in common with the next */

static features_t features;
static uint32_t hops;
static uint32_t steps; /* inferences, as the model counts them */

#ifdef FEATURES_FRAMES
/* The features keep the input's frames themselves: all of them are at the level of the loudest sample among them. */
typedef feature_code_t frames_t[FEATURES_FRAMES * FRAME_CODES];
#else
/* The model's input, as it fills up: the model may use that memory for something else between inferences. */
typedef feature_code_t frames_t[WAKEWORD_FRAMES * FRAME_CODES];
static frames_t frames;
#endif
typedef char frames_are_the_input[sizeof(frames_t) == WAKEWORD_INPUT_BYTES ? 1 : -1];
static uint32_t frame_count;

/* The last codes of each output, and their sums. */
static wakeword_code_t window[WAKEWORD_WINDOW][WAKEWORD_OUTPUTS];
static int32_t sums[WAKEWORD_OUTPUTS];
static uint32_t window_next;
static uint32_t window_count;
static wakeword_hop_t last;

static uint32_t model_steps(void)
{
    return app_model.steps != NULL ? app_model.steps() : 0U;
}

void wakeword_reset(void)
{
    features_init(&features);
    if (app_model.reset != NULL) {
        app_model.reset();
    }
    memset(sums, 0, sizeof sums);
    memset(window, 0, sizeof window);
    memset(&last, 0, sizeof last);
    hops = 0U;
    frame_count = 0U;
    window_next = 0U;
    window_count = 0U;
    steps = model_steps();
}

uint32_t wakeword_hops(void)
{
    return hops;
}

bool wakeword_is_disturbed(void)
{
    return steps != model_steps();
}

/* The codes of the oldest inference leave the sums, those of the newest enter. */
static void slide(void)
{
    wakeword_code_t *const oldest = window[window_next];
    for (uint32_t i = 0U; i < WAKEWORD_OUTPUTS; i++) {
        sums[i] += (int32_t)last.codes[i] - (int32_t)oldest[i];
    }
    memcpy(oldest, last.codes, sizeof last.codes);
    window_next = window_next + 1U < WAKEWORD_WINDOW ? window_next + 1U : 0U;
    window_count += window_count < WAKEWORD_WINDOW ? 1U : 0U;
}

static void decide(void)
{
    static const int32_t cutoffs[WAKEWORD_SWITCHES][WAKEWORD_OUTPUTS] = WAKEWORD_CUTOFFS;
    uint32_t best = 0U;
    for (uint32_t i = 1U; i < WAKEWORD_OUTPUTS; i++) {
        best = sums[i] > sums[best] ? i : best;
    }
    last.label = best;
    last.sum = sums[best];
    last.detected = window_count == WAKEWORD_WINDOW && last.sum >= cutoffs[app_model.current()][best];
}

static void infer(void)
{
    app_model.invoke(NULL, NULL);
    memcpy(last.codes, app_model.output(0U).data, sizeof last.codes);
    steps = model_steps();
    slide();
    decide();
}

/* True: these samples complete a frame. */
static bool hear(const int16_t samples[FEATURES_HOP_SAMPLES])
{
#ifdef FEATURES_FRAMES
    return features_hop(&features, samples, NULL);
#else
    return features_hop(&features, samples, &frames[frame_count * FRAME_CODES]);
#endif
}

/* One frame more is there; whether they are enough now. Then they are in the model's input. */
static bool add_frame(void)
{
    frame_count++;
    if (frame_count < WAKEWORD_FRAMES) {
        return false;
    }
#ifdef FEATURES_FRAMES
    return features_window(&features, app_model.input(0U).data);
#else
    memcpy(app_model.input(0U).data, frames, sizeof frames);
    return true;
#endif
}

static void drop_frames(void)
{
#ifndef FEATURES_FRAMES
    memmove(frames, &frames[WAKEWORD_STEP * FRAME_CODES], KEPT_FRAMES * FRAME_CODES * sizeof frames[0]);
#endif
    frame_count = KEPT_FRAMES;
}

wakeword_hop_t wakeword_hop(const int16_t samples[FEATURES_HOP_SAMPLES])
{
    const uint64_t start = cycles_now();
    last.ran = hear(samples) && add_frame();
    const uint64_t framed = cycles_now();
    last.number = hops++;
    last.frontend_cycles = (uint32_t)(framed - start);
    last.inference_cycles = 0U;
    last.detected = false;
    if (last.ran) {
        infer();
        drop_frames();
        last.inference_cycles = (uint32_t)(cycles_now() - framed);
    }
    return last;
}
