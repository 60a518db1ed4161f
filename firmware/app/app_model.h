/*
 * The model as the application sees it: one object, `app_model`, that a generated app_model.c defines.
 * The application never names a model, so it is the same for every one.
 */
#ifndef APP_MODEL_H
#define APP_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

typedef struct {
    const char *name;
    void *data;
    uint32_t bytes;
} app_tensor_t;

/* A tensor that a layer writes, for finding the first layer that computes something else than it should. */
typedef struct {
    uint32_t layer;
    uint32_t bytes;
    const void *data; /* valid from the end of `layer` until a later layer reuses the memory */
} app_trace_t;

/* One way to run the model; most models have only one. */
typedef struct {
    const char *name;
    uint32_t layers;
    uint32_t traces; /* how many tensors its layers write */
} app_switch_t;

/* Called when layer `layer` has finished, in order 0 .. layers - 1; not for layers of branches that do not run. */
typedef void app_observer_t(void *context, uint32_t layer);

/* What the benchmark's protocol asks of a model (commands_mlperf.c). */
typedef struct {
    const char *id;       /* the benchmark's name of it, "kws01"; NULL where it is none of the benchmark's */
    uint8_t *db;          /* room for an input as the runner sends it, outside the arena; may be NULL */
    uint32_t db_bytes;    /* 0 where db is NULL */
    void (*load)(void);   /* writes the model's inputs from db; there is one where db is not NULL */
    void (*results)(void); /* prints the values of the last outputs; NULL where no number stands for their codes */
} app_benchmark_t;

/* Thresholds that the caller may set. */
typedef struct {
    uint32_t count;
    const char *const *names;
    int32_t (*get)(uint32_t index);            /* index < count */
    bool (*set)(uint32_t index, int32_t code); /* false, and nothing changed, where it cannot be */
    void (*list)(void); /* these three are in thresholds.c, which models without thresholds do without */
    void (*check)(check_t *sum);
    bool (*command)(const char *command);
} app_thresholds_t;

typedef struct {
    const char *name;
    const char *build_id; /* 16 hex digits: hash of model, options and generated sources */
    uint32_t inputs;
    uint32_t outputs;
    uint32_t switches; /* at least 1 */
    void (*init)(void);
    app_tensor_t (*input)(uint32_t index);  /* index < inputs */
    app_tensor_t (*output)(uint32_t index); /* index < outputs */
    void (*invoke)(app_observer_t *observer, void *context); /* observer may be NULL */
    app_trace_t (*trace)(uint32_t index); /* index < traces of the current switch, in order of layers */
    const app_switch_t *each_switch;
    uint32_t (*current)(void);           /* index of the switch, 0 after init */
    bool (*set_switch)(uint32_t index); /* false, and nothing changed, when there is no such switch */
    uint32_t state_bytes;    /* what the model keeps from one inference to the next; 0 for most models */
    void (*reset)(void);     /* forgets that: the next inference is the first; NULL where state_bytes is 0 */
    uint32_t (*steps)(void); /* inferences since init or reset; NULL where state_bytes is 0 */
    /* What of the model's memory may be overwritten between inferences, if restart follows; may be NULL. */
    app_tensor_t (*arena)(void);
    /* Writes what it keeps there anew: thresholds get their defaults; NULL where that is nothing. */
    void (*restart)(void);
    const app_thresholds_t *thresholds; /* NULL where there are none */
    app_benchmark_t benchmark;
} app_model_t;

extern const app_model_t app_model;

#endif
