/* Groups: members that join, leave and die, and positions. */
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

/* A member that is polled by the check, and what it has read. */
typedef struct {
    rd_kafka_t *consumer;
    int read;
    bool seen[4];
} Member;

static Member join(const char *group, const char *topic, const char **more) {
    const char *all[40] = {"group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false"};
    int length = 6;
    for (; more && *more; more++) all[length++] = *more;
    Member member = {.consumer = client(RD_KAFKA_CONSUMER, all)};
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    OK(rd_kafka_subscribe(member.consumer, list));
    rd_kafka_topic_partition_list_destroy(list);
    return member;
}

static int owned(Member *member) {
    rd_kafka_topic_partition_list_t *list;
    OK(rd_kafka_assignment(member->consumer, &list));
    int count = list->cnt;
    rd_kafka_topic_partition_list_destroy(list);
    return count;
}

static void poll_once(Member *member) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(member->consumer, 50);
    if (!message) return;
    if (message->err) FAIL("%s", rd_kafka_message_errstr(message));
    member->read++;
    member->seen[message->partition] = true;
    rd_kafka_message_destroy(message);
}

static void until_owned(Member *first, int one, Member *second, int other, const char *what) {
    for (int64_t start = now(); owned(first) != one || (second && owned(second) != other); patience(start, what)) {
        poll_once(first);
        if (second) poll_once(second);
    }
}

static void two(const void *with) {
    const char *const *settings = with;
    char *topic = create(settings[1], 4), *group = unique("group");
    Member first = join(group, topic, (const char **)settings);
    until_owned(&first, 4, NULL, 0, "the first has all partitions");
    Member second = join(group, topic, (const char **)settings);
    until_owned(&first, 2, &second, 2, "two partitions each");
    for (int partition = 0; partition < 4; partition++) numbers(topic, partition, 10);
    for (int64_t start = now(); first.read + second.read < 40; patience(start, "all messages")) {
        poll_once(&first);
        poll_once(&second);
    }
    EQUAL(first.read, 20, "messages of the first");
    for (int partition = 0; partition < 4; partition++) EQUAL(first.seen[partition] + second.seen[partition], 1, "readers of a partition");
    OK(rd_kafka_consumer_close(second.consumer));
    until_owned(&first, 4, NULL, 0, "the first has all partitions again");
    OK(rd_kafka_consumer_close(first.consumer));
}

/* The second member is a process of its own, which is killed. */
static void dies(const void *with) {
    (void)with;
    const char **settings = WITH("session.timeout.ms", "6000", "heartbeat.interval.ms", "300");
    char *topic = create("death", 4), *group = unique("death");
    pid_t child = fork();
    if (child == 0) {
        Member second = join(group, topic, settings);
        for (;;) poll_once(&second);
    }
    Member first = join(group, topic, settings);
    until_owned(&first, 2, NULL, 0, "two partitions are left to the first");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    int64_t start = now();
    until_owned(&first, 4, NULL, 0, "the first has all partitions");
    if (now() - start < 2000) FAIL("the second was not missed, it left");
    OK(rd_kafka_consumer_close(first.consumer));
}

static void resume(const void *with) {
    (void)with;
    char *topic = create("resume", 1), *group = unique("resume");
    numbers(topic, 0, 30);
    for (int round = 0; round < 3; round++) {
        Member member = join(group, topic, NULL);
        rd_kafka_message_t **ten = take(member.consumer, 10);
        for (int n = 0; n < 10; n++) EQUAL(number(ten[n]), 10 * round + n, "value");
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *at = rd_kafka_topic_partition_list_add(list, topic, 0);
        at->offset = 10 * round + 10;
        at->metadata = strdup("ten read");
        at->metadata_size = strlen("ten read");
        OK(rd_kafka_commit(member.consumer, list, 0));
        OK(rd_kafka_committed(member.consumer, list, 90000));
        EQUAL(list->elems[0].offset, 10 * round + 10, "position");
        EQUAL(memcmp(list->elems[0].metadata, "ten read", 8), 0, "difference of metadata");
        for (int n = 0; n < 10; n++) rd_kafka_message_destroy(ten[n]);
        OK(rd_kafka_consumer_close(member.consumer));
    }
    EQUAL(position(client(RD_KAFKA_CONSUMER, WITH("group.id", unique("never"))), topic), -1, "position of a group that never committed");
}

void group_checks(void) {
#define CLASSIC(strategy) "partition.assignment.strategy", strategy, "session.timeout.ms", "6000", "heartbeat.interval.ms", "300"
    static const char *range[] = {CLASSIC("range"), NULL}, *roundrobin[] = {CLASSIC("roundrobin"), NULL};
    static const char *cooperative[] = {CLASSIC("cooperative-sticky"), NULL}, *newer[] = {"group.protocol", "consumer", NULL};
    check("group of two, range", two, range);
    check("group of two, roundrobin", two, roundrobin);
    check("group of two, cooperative-sticky", two, cooperative);
    check("consumer protocol: group of two", two, newer);
    check("a member dies", dies, NULL);
    check("commit and resume", resume, NULL);
}
