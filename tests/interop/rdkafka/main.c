#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

/* Longest a single check may take, and longest it waits for one thing, s. */
enum { LONGEST = 240, PATIENCE = 90 };

const char *brokers, *cut;
int delivered;
rd_kafka_resp_err_t refused;

static int count, failed;
static int64_t run;

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

void patience(int64_t since, const char *what) {
    if (now() - since > PATIENCE * 1000) FAIL("%s: not within %d s", what, PATIENCE);
    usleep(20000);
}

void check(const char *name, void (*action)(const void *), const void *with) {
    const char *only = getenv("TIDELOG_CHECK");
    if (only && !strstr(name, only)) return;
    int pipes[2], status = 0;
    if (pipe(pipes)) abort();
    int64_t start = now();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        close(pipes[1]);
        alarm(LONGEST);
        action(with);
        _exit(0);
    }
    close(pipes[1]);
    char said[4096], part[4096];
    ssize_t length = 0, got;
    while ((got = read(pipes[0], part, sizeof part)) > 0) {
        for (ssize_t n = 0; n < got && length < (ssize_t)sizeof said - 1; n++) said[length++] = part[n] == '\n' ? ' ' : part[n];
    }
    said[length] = 0;
    close(pipes[0]);
    waitpid(child, &status, 0);
    count++;
    if (status == 0) {
        printf("ok    rdkafka: %s (%.1f s)\n", name, (now() - start) / 1000.0);
    } else {
        failed++;
        printf("FAIL  rdkafka: %s: %s%s\n", name, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "not done in time: " : "", said);
    }
    fflush(stdout);
}

char *unique(const char *name) {
    char *made = malloc(strlen(name) + 32);
    sprintf(made, "c-%s-%llx", name, (unsigned long long)run);
    return made;
}

static void told(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer, (void)opaque;
    if (message->err) refused = message->err;
    else delivered++;
}

rd_kafka_t *client(rd_kafka_type_t type, const char **settings) {
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    for (; settings && *settings; settings += 2) {
        if (rd_kafka_conf_set(conf, settings[0], settings[1], error, sizeof error)) FAIL("%s", error);
    }
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, told);
    rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
    if (!made) FAIL("%s", error);
    if (type == RD_KAFKA_CONSUMER) rd_kafka_poll_set_consumer(made);
    return made;
}

char *create(const char *name, int partitions) {
    char *topic = unique(name), error[512];
    rd_kafka_t *admin = client(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(admin);
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic, partitions, 1, error, sizeof error);
    rd_kafka_CreateTopics(admin, &made, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE * 1000);
    if (!event) FAIL("no topic in time");
    OK(rd_kafka_event_error(event));
    size_t topics;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &topics);
    OK(rd_kafka_topic_result_error(results[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(made);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(admin);
    return topic;
}

void send_to(rd_kafka_t *producer, const char *topic, int partition, const char *value) {
    OK(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE((void *)value, strlen(value)),
                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
}

void finish(rd_kafka_t *producer) {
    OK(rd_kafka_flush(producer, PATIENCE * 2000));
    OK(refused);
    rd_kafka_destroy(producer);
}

void numbers(const char *topic, int partition, int many) {
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, NULL);
    char value[16];
    for (int n = 0; n < many; n++) {
        sprintf(value, "%d", n);
        send_to(producer, topic, partition, value);
    }
    finish(producer);
}

rd_kafka_t *reader(const char *topic, int partition, int64_t offset, const char **settings) {
    const char *all[40] = {"group.id", "nobody", "enable.auto.commit", "false"};
    int length = 4;
    for (; settings && *settings; settings++) all[length++] = *settings;
    rd_kafka_t *consumer = client(RD_KAFKA_CONSUMER, all);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    OK(rd_kafka_assign(consumer, list));
    rd_kafka_topic_partition_list_destroy(list);
    return consumer;
}

rd_kafka_message_t **take(rd_kafka_t *consumer, int many) {
    rd_kafka_message_t **taken = calloc(many, sizeof *taken);
    int64_t start = now();
    for (int n = 0; n < many;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 200);
        if (now() - start > PATIENCE * 1000) FAIL("%d of %d messages within %d s", n, many, PATIENCE);
        if (!message) continue;
        if (message->err) FAIL("%s", rd_kafka_message_errstr(message));
        taken[n++] = message;
    }
    return taken;
}

int number(const rd_kafka_message_t *message) {
    char text[16] = {0};
    memcpy(text, message->payload, message->len < 15 ? message->len : 15);
    return atoi(text);
}

void expect_numbers(const char *topic, int partition, const char *isolation, int many) {
    rd_kafka_t *consumer = reader(topic, partition, RD_KAFKA_OFFSET_BEGINNING, WITH("isolation.level", isolation));
    rd_kafka_message_t **taken = take(consumer, many);
    for (int n = 0; n < many; n++) EQUAL(number(taken[n]), n, "value");
    rd_kafka_message_t *more = rd_kafka_consumer_poll(consumer, 300);
    if (more) FAIL("there are more than %d", many);
}

int64_t position(rd_kafka_t *consumer, const char *topic) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0);
    OK(rd_kafka_committed(consumer, list, PATIENCE * 1000));
    OK(list->elems[0].err);
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset < 0 ? -1 : offset;
}

int main(void) {
    brokers = getenv("TIDELOG_KAFKA");
    cut = getenv("TIDELOG_CUT");
    if (cut && !*cut) cut = NULL;
    run = now();
    record_checks();
    group_checks();
    transaction_checks();
    break_checks();
    admin_checks();
    return failed || !count;
}
