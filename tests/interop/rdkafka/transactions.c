/* Transactions, and positions of groups within them. */
#include "check.h"

static rd_kafka_t *transactional(const char *id) {
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("transactional.id", id));
    GOOD(rd_kafka_init_transactions(producer, 90000));
    return producer;
}

static void end(rd_kafka_t *producer, bool commit) {
    GOOD(commit ? rd_kafka_commit_transaction(producer, 90000) : rd_kafka_abort_transaction(producer, 90000));
}

static void outcomes(const void *with) {
    (void)with;
    char *topic = create("transactions", 1), value[16];
    rd_kafka_t *producer = transactional(topic);
    /* What counts has numbers that go on; what is aborted has others. */
    for (int n = 0, next = 0; n < 5; n++) {
        bool commit = n % 2 == 0;
        GOOD(rd_kafka_begin_transaction(producer));
        for (int i = 0; i < 10; i++) {
            sprintf(value, "%d", commit ? next++ : 1000);
            send_to(producer, topic, 0, value);
        }
        OK(rd_kafka_flush(producer, 90000));
        end(producer, commit);
    }
    expect_numbers(topic, 0, "read_committed", 30);
    take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, WITH("isolation.level", "read_uncommitted")), 50);
    /* A second producer of the same id ends the first one's. */
    GOOD(rd_kafka_begin_transaction(producer));
    send_to(producer, topic, 0, "2000");
    transactional(topic);
    rd_kafka_error_t *error = rd_kafka_commit_transaction(producer, 90000);
    if (!error) FAIL("the first producer committed");
    EQUAL(rd_kafka_error_code(error), RD_KAFKA_RESP_ERR__FENCED, "error of the first one");
}

/* Each ten twice: what is aborted moves no position, what is committed does. */
static void pipeline(const void *with) {
    (void)with;
    char *in = create("in", 1), *out = create("out", 1), value[16];
    numbers(in, 0, 60);
    rd_kafka_t *producer = transactional(out);
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, WITH("group.id", unique("pipeline"), "auto.offset.reset", "earliest", "enable.auto.commit",
                                                          "false", "isolation.level", "read_committed"));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, in, 0);
    OK(rd_kafka_subscribe(consumer, list));
    for (int n = 0; n < 12; n++) {
        bool commit = n % 2 == 1;
        rd_kafka_message_t **ten = take(consumer, 10);
        GOOD(rd_kafka_begin_transaction(producer));
        for (int i = 0; i < 10; i++) {
            sprintf(value, "%d", number(ten[i]));
            send_to(producer, out, 0, value);
        }
        int64_t before = ten[0]->offset;
        list->elems[0].offset = before + 10;
        rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(consumer);
        GOOD(rd_kafka_send_offsets_to_transaction(producer, list, metadata, 90000));
        end(producer, commit);
        int64_t stands = position(consumer, in);
        EQUAL(stands < 0 ? 0 : stands, commit ? before + 10 : before, "the group's position");
        for (int i = 0; i < 10; i++) rd_kafka_message_destroy(ten[i]);
        if (!commit) {
            list->elems[0].offset = before;
            GOOD(rd_kafka_seek_partitions(consumer, list, 90000));
        }
    }
    OK(rd_kafka_consumer_close(consumer));
    expect_numbers(out, 0, "read_committed", 60);
}

void transaction_checks(void) {
    check("transactions, committed and aborted", outcomes, NULL);
    check("transactions: read, transform, write", pipeline, NULL);
}
