/* A server that is killed, and transactions whose connections break (victim.py). */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "check.h"

enum { ALL = 300 };

/* What is asked of victim.py, by GET: `kill` the server and wait until it is there again; `cut` all connections, or `lose` the answer to the next
 * end of a transaction: how many connections there are. */
static int ask(const char *what) {
    const char *port = strchr(getenv("TIDELOG_VICTIM_CONTROL"), ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(socket_, (struct sockaddr *)&address, sizeof address)) FAIL("nobody to ask for %s", what);
    dprintf(socket_, "GET /%s HTTP/1.1\r\n\r\n", what);
    char answer[1024];
    size_t length = 0;
    for (ssize_t got; length < sizeof answer - 1 && (got = read(socket_, answer + length, sizeof answer - 1 - length)) > 0;) length += got;
    close(socket_);
    answer[length] = 0;
    char *body = strstr(answer, "\r\n\r\n");
    if (!body || !strstr(answer, " 200 ")) FAIL("%s: %s", what, answer);
    return atoi(body + 4);
}

/* Numbers from one to another, each to the partition of its parity. */
static void send_numbers(rd_kafka_t *producer, const char *topic, int from, int to) {
    char value[16];
    for (int n = from; n < to; n++) {
        sprintf(value, "%d", n);
        send_to(producer, topic, n % 2, value);
    }
    rd_kafka_poll(producer, 0);
}

static rd_kafka_topic_partition_list_t *both(const char *topic) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    for (int partition = 0; partition < 2; partition++) rd_kafka_topic_partition_list_add(list, topic, partition);
    return list;
}

static rd_kafka_t *join(const char *group, const char *topic) {
    rd_kafka_t *member = client(RD_KAFKA_CONSUMER, WITH("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                                                        "reconnect.backoff.max.ms", "500"));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    OK(rd_kafka_subscribe(member, list));
    rd_kafka_topic_partition_list_destroy(list);
    return member;
}

/* Reads until so many different numbers are there. Errors are of connections, which the client mends itself. */
static void read_until(rd_kafka_t *member, bool *seen, int *different, int enough) {
    for (int64_t start = now(); *different < enough;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(member, 100);
        if (!message) {
            patience(start, "records");
            continue;
        }
        if (!message->err) {
            int n = number(message);
            if (n < 0 || n > ALL) FAIL("nobody has sent %d", n);
            *different += !seen[n];
            seen[n] = true;
        }
        rd_kafka_message_destroy(message);
    }
}

static int64_t stands(rd_kafka_t *consumer, const char *topic, int64_t *each) {
    rd_kafka_topic_partition_list_t *list = both(topic);
    OK(rd_kafka_committed(consumer, list, 90000));
    for (int n = 0; n < 2; n++) each[n] = list->elems[n].offset < 0 ? 0 : list->elems[n].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return each[0] + each[1];
}

/* The values of a partition are every second number, and end there. */
static void expect_all(const char *topic, int partition) {
    rd_kafka_t *consumer = reader(topic, partition, RD_KAFKA_OFFSET_BEGINNING, NULL);
    rd_kafka_message_t **taken = take(consumer, ALL / 2);
    for (int n = 0; n < ALL / 2; n++) EQUAL(number(taken[n]), 2 * n + partition, "value");
    int64_t low, high;
    OK(rd_kafka_query_watermark_offsets(consumer, topic, partition, &low, &high, 90000));
    EQUAL(high, ALL / 2, "end of the partition");
}

static void killed(const void *with) {
    (void)with;
    brokers = getenv("TIDELOG_VICTIM");
    char *topic = create("killed", 2), *group = unique("g-killed");
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("enable.idempotence", "true", "acks", "all", "linger.ms", "1", "batch.num.messages", "10",
                                                          "reconnect.backoff.max.ms", "500"));
    rd_kafka_t *member = join(group, topic);
    bool seen[ALL + 1] = {false};
    int different = 0;
    send_numbers(producer, topic, 0, 100);
    read_until(member, seen, &different, 40);
    OK(rd_kafka_commit(member, NULL, 0));
    int64_t before[2], after[2];
    EQUAL(stands(member, topic, before), different, "what is committed");
    send_numbers(producer, topic, 100, 200);
    ask("kill");
    rd_kafka_t *asker = client(RD_KAFKA_CONSUMER, WITH("group.id", group));
    stands(asker, topic, after);
    rd_kafka_destroy(asker);
    for (int n = 0; n < 2; n++) EQUAL(after[n], before[n], "where the group stands after the kill");
    read_until(member, seen, &different, 200);
    send_numbers(producer, topic, 200, ALL);
    ask("kill");
    OK(rd_kafka_flush(producer, 60000));
    EQUAL(delivered, ALL, "acknowledged");
    read_until(member, seen, &different, ALL);
    OK(rd_kafka_commit(member, NULL, 0));
    OK(rd_kafka_consumer_close(member));
    for (int partition = 0; partition < 2; partition++) expect_all(topic, partition);
    send_numbers(producer, topic, ALL, ALL + 1);
    finish(producer);
    rd_kafka_message_t **more = take(join(group, topic), 1);
    EQUAL(number(more[0]), ALL, "what the group reads after its commit");
}

/* Connections break before the records are acknowledged, or take along the answer to the abort. */
static void aborted(const void *with) {
    (void)with;
    brokers = getenv("TIDELOG_VICTIM");
    char *topic = create("aborted", 2);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, WITH("bootstrap.servers", getenv("TIDELOG_VICTIM_CUT"), "transactional.id", topic, "linger.ms",
                                                          "1", "reconnect.backoff.max.ms", "500"));
    GOOD(rd_kafka_init_transactions(producer, 90000));
    const char *const ends[] = {"cut", "lose", "", "lose", "cut", ""};
    /* The two that are committed. */
    int expected[] = {2, 5};
    for (int n = 0; n < 6; n++) {
        const char *how = ends[n];
        GOOD(rd_kafka_begin_transaction(producer));
        send_numbers(producer, topic, 20 * n, 20 * n + 20);
        if (strcmp(how, "cut")) OK(rd_kafka_flush(producer, 90000));
        if (*how && !ask(how)) FAIL("no connection to %s", how);
        GOOD(*how ? rd_kafka_abort_transaction(producer, 60000) : rd_kafka_commit_transaction(producer, 60000));
    }
    for (int partition = 0; partition < 2; partition++) {
        rd_kafka_message_t **taken =
            take(reader(topic, partition, RD_KAFKA_OFFSET_BEGINNING, WITH("isolation.level", "read_committed")), 20);
        for (int n = 0; n < 20; n++) EQUAL(number(taken[n]), 20 * expected[n / 10] + 2 * (n % 10) + partition, "what is committed");
    }
}

void break_checks(void) {
    const char *victim = getenv("TIDELOG_VICTIM");
    if (!victim || !*victim) return;
    check("the server is killed while it is written to and read", killed, NULL);
    check("transactions: aborted when connections break", aborted, NULL);
}
