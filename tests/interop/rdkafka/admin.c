/* Administration. */
#include "check.h"

static rd_kafka_t *admin;
static rd_kafka_queue_t *queue;

static void begin(void) {
    admin = client(RD_KAFKA_PRODUCER, NULL);
    queue = rd_kafka_queue_new(admin);
}

/* The answer to what was asked last. */
static rd_kafka_event_t *answer(void) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 90000);
    if (!event) FAIL("no answer");
    if (rd_kafka_event_error(event)) FAIL("%s", rd_kafka_event_error_string(event));
    return event;
}

static rd_kafka_resp_err_t first_error(const rd_kafka_topic_result_t **results) { return rd_kafka_topic_result_error(results[0]); }

static rd_kafka_resp_err_t made(const char *topic, int partitions, int replicas) {
    char error[512];
    size_t count;
    rd_kafka_NewTopic_t *topics = rd_kafka_NewTopic_new(topic, partitions, replicas, error, sizeof error);
    rd_kafka_CreateTopics(admin, &topics, 1, NULL, queue);
    return first_error(rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer()), &count));
}

static rd_kafka_resp_err_t deleted(const char *topic) {
    size_t count;
    rd_kafka_DeleteTopic_t *topics = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(admin, &topics, 1, NULL, queue);
    return first_error(rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(answer()), &count));
}

static int partitions_of(const char *topic) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(admin, topic, NULL);
    OK(rd_kafka_metadata(admin, 0, handle, &metadata, 90000));
    EQUAL(metadata->broker_cnt, 1, "brokers");
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return count;
}

static void topics(const void *with) {
    (void)with;
    begin();
    char *topic = unique("admin");
    OK(made(topic, 3, 1));
    EQUAL(partitions_of(topic), 3, "partitions");
    EQUAL(made(topic, 1, 1), RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, "error of a topic that exists");
    EQUAL(made("bad name", 1, 1), RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "error of a bad name");
    EQUAL(made(unique("replicas"), 1, 9), RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, "error of too many replicas");
    OK(deleted(topic));
    EQUAL(deleted(topic), RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "error of a topic that is gone");
}

static rd_kafka_resp_err_t grown(const char *topic, int to) {
    char error[512];
    size_t count;
    rd_kafka_NewPartitions_t *more = rd_kafka_NewPartitions_new(topic, to, error, sizeof error);
    rd_kafka_CreatePartitions(admin, &more, 1, NULL, queue);
    return first_error(rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(answer()), &count));
}

static void partitions(const void *with) {
    (void)with;
    char *topic = create("partitions", 1);
    begin();
    OK(grown(topic, 3));
    EQUAL(partitions_of(topic), 3, "partitions");
    EQUAL(grown(topic, 2), RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, "error of fewer partitions");
}

static const char *setting(rd_kafka_ConfigResource_t *topic, const char *name) {
    size_t count;
    rd_kafka_DescribeConfigs(admin, &topic, 1, NULL, queue);
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(answer()), &count);
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0], &count);
    for (size_t n = 0; n < count; n++) {
        if (!strcmp(rd_kafka_ConfigEntry_name(entries[n]), name)) return rd_kafka_ConfigEntry_value(entries[n]);
    }
    FAIL("no %s", name);
    return NULL;
}

static rd_kafka_resp_err_t altered(const char *topic, rd_kafka_AlterConfigOpType_t operation, const char *name, const char *value) {
    size_t count;
    rd_kafka_ConfigResource_t *change = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_ConfigResource_add_incremental_config(change, name, operation, value);
    rd_kafka_IncrementalAlterConfigs(admin, &change, 1, NULL, queue);
    const rd_kafka_IncrementalAlterConfigs_result_t *result = rd_kafka_event_IncrementalAlterConfigs_result(answer());
    return rd_kafka_ConfigResource_error(rd_kafka_IncrementalAlterConfigs_result_resources(result, &count)[0]);
}

static void configs(const void *with) {
    (void)with;
    char *topic = create("configs", 1);
    begin();
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    OK(altered(topic, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, "retention.ms", "1000000"));
    EQUAL(atoll(setting(resource, "retention.ms")), 1000000, "retention.ms");
    OK(altered(topic, RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, "retention.ms", NULL));
    EQUAL(atoll(setting(resource, "retention.ms")), 604800000, "retention.ms");
    EQUAL(altered(topic, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, "nonsense", "1"), RD_KAFKA_RESP_ERR_INVALID_CONFIG, "error of an unknown setting");
}

static rd_kafka_topic_partition_list_t *one(const char *topic, int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
    return list;
}

static rd_kafka_resp_err_t cut_before(const char *topic, int64_t offset) {
    rd_kafka_DeleteRecords_t *before = rd_kafka_DeleteRecords_new(one(topic, offset));
    rd_kafka_DeleteRecords(admin, &before, 1, NULL, queue);
    return rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(answer()))->elems[0].err;
}

static void records(const void *with) {
    (void)with;
    char *topic = create("delete-records", 1);
    numbers(topic, 0, 10);
    begin();
    OK(cut_before(topic, 4));
    EQUAL(number(take(reader(topic, 0, RD_KAFKA_OFFSET_BEGINNING, NULL), 6)[0]), 4, "the first value");
    EQUAL(cut_before(topic, 11), RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, "error of an offset behind the end");
}

static rd_kafka_resp_err_t group_deleted(const char *group) {
    size_t count;
    rd_kafka_DeleteGroup_t *gone = rd_kafka_DeleteGroup_new(group);
    rd_kafka_DeleteGroups(admin, &gone, 1, NULL, queue);
    const rd_kafka_group_result_t **results = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(answer()), &count);
    const rd_kafka_error_t *error = rd_kafka_group_result_error(results[0]);
    return error ? rd_kafka_error_code(error) : 0;
}

static void groups(const void *with) {
    (void)with;
    char *topic = create("groups", 1), *group = unique("groups");
    begin();
    rd_kafka_AlterConsumerGroupOffsets_t *change = rd_kafka_AlterConsumerGroupOffsets_new(group, one(topic, 4));
    rd_kafka_AlterConsumerGroupOffsets(admin, &change, 1, NULL, queue);
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_AlterConsumerGroupOffsets_result_groups(rd_kafka_event_AlterConsumerGroupOffsets_result(answer()), &count);
    OK(rd_kafka_group_result_partitions(results[0])->elems[0].err);
    rd_kafka_ListConsumerGroupOffsets_t *asked = rd_kafka_ListConsumerGroupOffsets_new(group, NULL);
    rd_kafka_ListConsumerGroupOffsets(admin, &asked, 1, NULL, queue);
    results = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(answer()), &count);
    EQUAL(rd_kafka_group_result_partitions(results[0])->elems[0].offset, 4, "offset");
    rd_kafka_DescribeConsumerGroups(admin, (const char *[]){group}, 1, NULL, queue);
    const rd_kafka_ConsumerGroupDescription_t **described =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(answer()), &count);
    EQUAL(rd_kafka_ConsumerGroupDescription_state(described[0]), RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY, "state");
    rd_kafka_ListConsumerGroups(admin, NULL, queue);
    const rd_kafka_ConsumerGroupListing_t **listed =
        rd_kafka_ListConsumerGroups_result_valid(rd_kafka_event_ListConsumerGroups_result(answer()), &count);
    bool found = false;
    for (size_t n = 0; n < count; n++) found |= !strcmp(rd_kafka_ConsumerGroupListing_group_id(listed[n]), group);
    EQUAL(found, true, "it is listed");
    OK(group_deleted(group));
    EQUAL(group_deleted(group), RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, "error of a group that is gone");
}

static void elections(const void *with) {
    (void)with;
    char *topic = create("elections", 1);
    begin();
    rd_kafka_ElectLeaders_t *asked = rd_kafka_ElectLeaders_new(RD_KAFKA_ELECTION_TYPE_PREFERRED, one(topic, 0));
    rd_kafka_ElectLeaders(admin, asked, NULL, queue);
    size_t count;
    const rd_kafka_topic_partition_result_t **results =
        rd_kafka_ElectLeaders_result_partitions(rd_kafka_event_ElectLeaders_result(answer()), &count);
    EQUAL(rd_kafka_error_code(rd_kafka_topic_partition_result_error(results[0])), RD_KAFKA_RESP_ERR_ELECTION_NOT_NEEDED, "error");
}

static size_t rules_that_match(rd_kafka_AclBinding_t *filter) {
    size_t count;
    rd_kafka_DescribeAcls(admin, filter, NULL, queue);
    rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(answer()), &count);
    return count;
}

static void rules(const void *with) {
    (void)with;
    begin();
    char *topic = unique("rules"), longer[200], error[512];
    rd_kafka_AclBinding_t *both[2];
    rd_kafka_AclOperation_t operations[] = {RD_KAFKA_ACL_OPERATION_READ, RD_KAFKA_ACL_OPERATION_WRITE};
    for (int n = 0; n < 2; n++) {
        both[n] = rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, topic, RD_KAFKA_RESOURCE_PATTERN_PREFIXED, "User:alice", "10.0.0.1",
                                          operations[n], RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, error, sizeof error);
    }
    rd_kafka_CreateAcls(admin, both, 2, NULL, queue);
    size_t count;
    const rd_kafka_acl_result_t **results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(answer()), &count);
    for (size_t n = 0; n < count; n++) {
        if (rd_kafka_acl_result_error(results[n])) FAIL("%s", rd_kafka_error_string(rd_kafka_acl_result_error(results[n])));
    }
    sprintf(longer, "%s-more", topic);
    rd_kafka_AclBinding_t *filter =
        rd_kafka_AclBindingFilter_new(RD_KAFKA_RESOURCE_TOPIC, longer, RD_KAFKA_RESOURCE_PATTERN_MATCH, NULL, NULL, RD_KAFKA_ACL_OPERATION_ANY,
                                      RD_KAFKA_ACL_PERMISSION_TYPE_ANY, error, sizeof error);
    EQUAL(rules_that_match(filter), 2, "rules that match");
    rd_kafka_DeleteAcls(admin, &filter, 1, NULL, queue);
    const rd_kafka_DeleteAcls_result_response_t **gone = rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(answer()), &count);
    rd_kafka_DeleteAcls_result_response_matching_acls(gone[0], &count);
    EQUAL(count, 2, "deleted rules");
    EQUAL(rules_that_match(filter), 0, "rules that are left");
}

void admin_checks(void) {
    check("admin: create, list, errors", topics, NULL);
    check("admin: describe and alter configs", configs, NULL);
    check("admin: add partitions", partitions, NULL);
    check("admin: delete records", records, NULL);
    check("admin: groups and their offsets", groups, NULL);
    check("admin: elections", elections, NULL);
    check("admin: access rules", rules, NULL);
}
