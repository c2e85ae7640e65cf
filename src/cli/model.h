/* What the parts of `lockstep model` share. */
#ifndef LS_CLI_MODEL_H
#define LS_CLI_MODEL_H

#include "cli/cli.h"
#include "model/run.h"

/* What was asked for. */
struct model_wish {
    struct run_plan plan;
    struct decimal *rates; /* what plan.rates refers to; the owner's */
    const char *out;       /* NULL: no files */
};

/* model_plan.c: EXIT_OK, or EXIT_USAGE with the sentence printed; then nothing is to be freed. */
int model_parse(const struct cli *cli, struct model_wish *wish);

/* model_table.c: what came of a run, for a person. */
void model_print_table(const struct cli *cli, const struct run_result *result);

/* model_compare.c: `model compare DIR DIR ...` */
int model_compare(const struct cli *cli);

#endif
