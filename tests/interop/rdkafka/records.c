/* What goes in comes out: the producer, and the consumer without a group. */
#include "check.h"

static const char *CODECS[] = {"none", "gzip", "snappy", "lz4", "zstd"}, *ACKS[] = {"0", "1", "all"};

/* Puts text together; nobody frees it, as each check is a process. */
static char *text(const char *format, const char *a, const char *b) {
    char *made = malloc(strlen(format) + strlen(a) + strlen(b) + 1);
    sprintf(made, format, a, b);
    return made;
}

static void codec(const void *with) {
    int which = *(const int *)with;
    const char *codec = CODECS[which / 3], *acks = ACKS[which % 3];
    char *topic = create(text("codec-%s-%s", codec, acks), 1), value[2000];
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("compression.type", codec, "acks", acks, "linger.ms", "50"));
    for (int n = 0; n < 50; n++) {
        memset(value, 'a' + n % 26, sizeof value);
        sprintf(value, "%d", n);
        value[strlen(value)] = ' ';
        OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(value, sizeof value),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
    }
    finish(producer);
    EQUAL(delivered, 50, "delivered");
    rd_kafka_message_t **taken = take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 50);
    for (int n = 0; n < 50; n++) {
        EQUAL(taken[n]->offset, n, "offset");
        EQUAL(number(taken[n]), n, "value");
        EQUAL(taken[n]->len, sizeof value, "length");
        EQUAL(((char *)taken[n]->payload)[1999], 'a' + n % 26, "last byte");
    }
}

static void headers(const void *with) {
    (void)with;
    char *topic = create("headers", 1);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_headers_t *sent = rd_kafka_headers_new(4);
    rd_kafka_header_add(sent, "a", -1, "1", 1);
    rd_kafka_header_add(sent, "b", -1, NULL, 0);
    rd_kafka_header_add(sent, "a", -1, "2", 1);
    rd_kafka_header_add(sent, "\xc3\xbc", -1, "\0\xff", 2);
    OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_HEADERS(sent), RD_KAFKA_V_END));
    finish(producer);
    rd_kafka_headers_t *got;
    OK(rd_kafka_message_headers(take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 1)[0], &got));
    EQUAL(rd_kafka_header_cnt(got), 4, "headers");
    const char *names[] = {"a", "b", "a", "\xc3\xbc"}, *values[] = {"1", NULL, "2", "\0\xff"};
    for (int n = 0; n < 4; n++) {
        const char *name;
        const void *value;
        size_t size;
        OK(rd_kafka_header_get_all(got, n, &name, &value, &size));
        EQUAL(strcmp(name, names[n]), 0, "difference of names");
        EQUAL(value == NULL, values[n] == NULL, "null");
        if (value) EQUAL(memcmp(value, values[n], size), 0, "difference of values");
        EQUAL(size, n == 3 ? 2 : n == 1 ? 0 : 1, "size");
    }
}

static void nulls(const void *with) {
    (void)with;
    char *topic = create("nulls", 1);
    const char *keys[] = {NULL, "", NULL, "k", "k"}, *values[] = {NULL, "", "v", NULL, "v"};
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, NULL);
    for (int n = 0; n < 5; n++) {
        OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(keys[n], keys[n] ? strlen(keys[n]) : 0),
                             RD_KAFKA_V_VALUE((void *)values[n], values[n] ? strlen(values[n]) : 0), RD_KAFKA_V_END));
    }
    finish(producer);
    rd_kafka_message_t **taken = take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 5);
    for (int n = 0; n < 5; n++) {
        EQUAL(taken[n]->key == NULL, keys[n] == NULL, "null key");
        EQUAL(taken[n]->payload == NULL, values[n] == NULL, "null value");
        EQUAL(taken[n]->key_len, keys[n] ? strlen(keys[n]) : 0, "key's length");
        EQUAL(taken[n]->len, values[n] ? strlen(values[n]) : 0, "value's length");
    }
}

static void large(const void *with) {
    (void)with;
    enum { SIZE = 1000000 };
    char *topic = create("large", 1), *value = malloc(SIZE);
    for (int n = 0; n < SIZE; n++) value[n] = (char)(n * 7919LL % 251);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("message.max.bytes", "2000000"));
    OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, SIZE), RD_KAFKA_V_END));
    finish(producer);
    rd_kafka_message_t *got = take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 1)[0];
    EQUAL(got->len, SIZE, "length");
    EQUAL(memcmp(got->payload, value, SIZE), 0, "difference");
}

static void too_large(const void *with) {
    (void)with;
    enum { SIZE = 2000000 };
    char *topic = create("too-large", 1);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("message.max.bytes", "5000000"));
    OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(calloc(1, SIZE), SIZE), RD_KAFKA_V_END));
    OK(rd_kafka_flush(producer, 90000));
    EQUAL(refused, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "error");
    refused = 0;
    send_to(producer, topic, 0, "7");
    finish(producer);
    EQUAL(number(take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 1)[0]), 7, "value");
}

static void seek_by_time(const void *with) {
    (void)with;
    char *topic = create("times", 1), value[16];
    int64_t start = now() - 100000;
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, NULL);
    for (int n = 0; n < 10; n++) {
        sprintf(value, "%d", n);
        OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(value, strlen(value)),
                             RD_KAFKA_V_TIMESTAMP(start + n * 1000), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
    }
    finish(producer);
    rd_kafka_t *consumer = reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL);
    int64_t cases[][2] = {{-5000, 0}, {3000, 3}, {3001, 4}, {60000, RD_KAFKA_OFFSET_END}};
    for (int n = 0; n < 4; n++) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = start + cases[n][0];
        OK(rd_kafka_offsets_for_times(consumer, list, 90000));
        EQUAL(list->elems[0].offset, cases[n][1], "offset");
    }
    int64_t low, high;
    OK(rd_kafka_query_watermark_offsets(consumer, topic, 0, &low, &high, 90000));
    EQUAL(low, 0, "first offset");
    EQUAL(high, 10, "end");
    rd_kafka_message_t **taken = take(reader(topic, 0, 7, NULL), 3);
    for (int n = 0; n < 3; n++) EQUAL(rd_kafka_message_timestamp(taken[n], NULL), start + (7 + n) * 1000, "time");
}

static void idempotence(const void *at) {
    char *topic = create(at == cut ? "idempotent-cut" : "idempotent", 1), value[16];
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("bootstrap.servers", at, "enable.idempotence", "true", "max.in.flight", "5",
                                                          "batch.num.messages", "20", "linger.ms", "1"));
    for (int n = 0; n < 2000; n++) {
        sprintf(value, "%d", n);
        send_to(producer, topic, 0, value);
        rd_kafka_poll(producer, 0);
    }
    finish(producer);
    EQUAL(delivered, 2000, "delivered");
    expect_numbers(topic, 0, "read_uncommitted", 2000);
}

void record_checks(void) {
    static int which[15];
    for (int n = 0; n < 15; n++) {
        which[n] = n;
        check(text("codec %s, acks %s", CODECS[n / 3], ACKS[n % 3]), codec, &which[n]);
    }
    check("headers, repeated keys and null values", headers, NULL);
    check("null and empty keys and values", nulls, NULL);
    check("large record", large, NULL);
    check("too large record is refused, the next one stored", too_large, NULL);
    check("seek by time", seek_by_time, NULL);
    check("idempotence", idempotence, brokers);
    if (cut) check("idempotence when connections break", idempotence, cut);
}
