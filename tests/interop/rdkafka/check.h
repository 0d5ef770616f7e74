/* What the C checks share: each is a process of its own, which ends with a word on what is wrong, and names of topics that no other run uses. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rdkafka.h"

/* Names and values of settings, alternately. */
#define WITH(...) ((const char *[]){__VA_ARGS__, NULL})

/* Ends the check. */
#define FAIL(...) (fprintf(stderr, "line %d: ", __LINE__), fprintf(stderr, __VA_ARGS__), exit(1))
#define EQUAL(got, expected, what)                                                                                                              \
    do {                                                                                                                                        \
        long long got_ = (long long)(got), expected_ = (long long)(expected);                                                                   \
        if (got_ != expected_) FAIL("%s is %lld, expected %lld", what, got_, expected_);                                                        \
    } while (0)
#define OK(err)                                                                                                                                 \
    do {                                                                                                                                        \
        rd_kafka_resp_err_t err_ = (err);                                                                                                       \
        if (err_) FAIL("%s", rd_kafka_err2name(err_));                                                                                          \
    } while (0)
/* The same of a call that gives an error object. */
#define GOOD(error)                                                                                                                             \
    do {                                                                                                                                        \
        rd_kafka_error_t *error_ = (error);                                                                                                     \
        if (error_) FAIL("%s", rd_kafka_error_string(error_));                                                                                  \
    } while (0)

/* Where the server is, and where it is behind a proxy that loses answers (or NULL). */
extern const char *brokers, *cut;

void check(const char *name, void (*run)(const void *), const void *with);
void record_checks(void);
void group_checks(void);
void transaction_checks(void);
void break_checks(void);
void admin_checks(void);

/* Milliseconds since some moment. */
int64_t now(void);
/* Waits a little; ends the check when what it waits for takes too long. */
void patience(int64_t since, const char *what);

char *unique(const char *name);
char *create(const char *name, int partitions);
rd_kafka_t *client(rd_kafka_type_t type, const char **settings);

/* What the producers of this check have been told. */
extern int delivered;
extern rd_kafka_resp_err_t refused;
void send_to(rd_kafka_t *producer, const char *topic, int partition, const char *value);
void finish(rd_kafka_t *producer);
void numbers(const char *topic, int partition, int count);

rd_kafka_t *reader(const char *topic, int partition, int64_t offset, const char **settings);
/* Exactly this many messages. */
rd_kafka_message_t **take(rd_kafka_t *consumer, int count);
/* The number that a message's value is. */
int number(const rd_kafka_message_t *message);
void expect_numbers(const char *topic, int partition, const char *isolation, int count);
/* The position of a group in partition 0, -1 if it has none. */
int64_t position(rd_kafka_t *consumer, const char *topic);

#endif
