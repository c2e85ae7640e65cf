/* What a run was asked to be, as config.json says it and as the report lists it. */
#ifndef LS_MODEL_RUN_CONFIG_H
#define LS_MODEL_RUN_CONFIG_H

#include "model/run.h"

/* 0 or LS_ENOMEM; whether the file could be written is for the caller to ask of it. */
int run_config_print(const struct run_plan *plan, uint32_t events_nodes, FILE *file);

/* The text that the parameters of a report refer to; `text` is for the caller to free. */
struct run_parameters {
    struct buf text;
    size_t count;
};

/* 0 or LS_ENOMEM, with nothing to free. */
int run_parameters_fill(struct run_parameters *parameters, const struct run_plan *plan,
                        struct report *report);

#endif
