/* The page around a report's data, made from src/model/web/ when Lockstep is built. */
#ifndef LS_MODEL_REPORT_PAGE_H
#define LS_MODEL_REPORT_PAGE_H

#include <stddef.h>

extern const unsigned char report_page_before[];
extern const size_t report_page_before_size;
extern const unsigned char report_page_after[];
extern const size_t report_page_after_size;

#endif
