package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

func saramaAdmin(use func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{brokers}, saramaConfig())
	if err != nil {
		return err
	}
	return errors.Join(use(admin), admin.Close())
}

func saramaTopics() error {
	topic, err := saramaTopic("admin", 3)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		topics, err := admin.ListTopics()
		if err := errors.Join(err, equal("partitions", topics[topic].NumPartitions, 3)); err != nil {
			return err
		}
		again := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		if err := refused(again, sarama.ErrTopicAlreadyExists); err != nil {
			return err
		}
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
		return refused(admin.DeleteTopic(topic), sarama.ErrUnknownTopicOrPartition)
	})
}

func saramaDeleteRecords() error {
	topic, err := saramaTopic("delete-records", 1)
	if err != nil {
		return err
	}
	// With acks=1 the records may not be committed yet: the deletion waits for them.
	config := saramaConfig()
	config.Producer.RequiredAcks = sarama.WaitForLocal
	if err := saramaSend(config, topic, numbers(0, 10)); err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 4}); err != nil {
			return err
		}
		if admin.DeleteRecords(topic, map[int32]int64{0: 11}) == nil {
			return errors.New("an offset beyond the end is accepted")
		}
		read, err := saramaRead(topic, sarama.OffsetOldest, 6)
		return errors.Join(err, equal("values", values(read), values(numbers(4, 10))))
	})
}

func saramaLogDirs() error {
	topic, err := saramaTopic("log-dirs", 1)
	if err != nil {
		return err
	}
	if err := saramaSend(saramaConfig(), topic, numbers(0, 10)); err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		nodes, _, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		directories, err := admin.DescribeLogDirs([]int32{nodes[0].ID()})
		if err != nil {
			return err
		}
		for _, one := range directories[nodes[0].ID()][0].Topics {
			if one.Topic == topic && one.Partitions[0].Size > 0 {
				return nil
			}
		}
		return errors.New("the partition has no bytes")
	})
}

func saramaConfigs() error {
	topic, err := saramaTopic("configs", 1)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		setting := func() (string, error) {
			entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
			if err != nil || len(entries) != 1 {
				return "", fmt.Errorf("%d entries: %w", len(entries), err)
			}
			return entries[0].Value, nil
		}
		million := "1000000"
		change := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &million}}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false); err != nil {
			return err
		}
		now, err := setting()
		if err := errors.Join(err, equal("retention.ms", now, million)); err != nil {
			return err
		}
		// The old way replaces all settings.
		size := "1048576"
		if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &size}, false); err != nil {
			return err
		}
		now, err = setting()
		err = errors.Join(err, equal("retention.ms", now, "604800000"))
		unknown := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"nonsense": &size}, false)
		return errors.Join(err, refused(unknown, sarama.ErrInvalidConfig))
	})
}

func saramaPartitions() error {
	topic, err := saramaTopic("partitions", 1)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		err := errors.Join(
			admin.CreatePartitions(topic, 3, nil, false),
			refused(admin.CreatePartitions(topic, 2, nil, false), sarama.ErrInvalidPartitions))
		topics, failed := admin.DescribeTopics([]string{topic})
		return errors.Join(err, failed, equal("partitions", len(topics[0].Partitions), 3))
	})
}

func saramaGroups() error {
	topic, err := saramaTopic("groups", 2)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		group := unique("sarama-groups")
		offsets := map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 4, Metadata: "four", LeaderEpoch: -1}, 1: {LeaderEpoch: -1}}}
		if _, err := admin.AlterConsumerGroupOffsets(group, offsets, nil); err != nil {
			return err
		}
		position := func(partition int32) (string, error) {
			fetched, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
			if err != nil {
				return "", err
			}
			block := fetched.GetBlock(topic, partition)
			return fmt.Sprint(block.Offset, block.Metadata), nil
		}
		one, err := position(0)
		if err := errors.Join(err, equal("offset and metadata", one, "4four")); err != nil {
			return err
		}
		listed, err := admin.ListConsumerGroups()
		if _, there := listed[group]; err != nil || !there {
			return fmt.Errorf("the group is not listed: %w", err)
		}
		described, err := admin.DescribeConsumerGroups([]string{group})
		if err := errors.Join(err, equal("state", described[0].State, "Empty")); err != nil {
			return err
		}
		if err := admin.DeleteConsumerGroupOffset(group, topic, 1); err != nil {
			return err
		}
		one, err = position(1)
		if err := errors.Join(err, equal("offset", one, "-1")); err != nil {
			return err
		}
		if err := admin.DeleteConsumerGroup(group); err != nil {
			return err
		}
		return refused(admin.DeleteConsumerGroup(group), sarama.ErrGroupIDNotFound)
	})
}

func saramaElections() error {
	topic, err := saramaTopic("elections", 1)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		elected, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
		if err != nil {
			return err
		}
		if err := equal("error of the election", elected[topic][0].ErrorCode, sarama.ErrElectionNotNeeded); err != nil {
			return err
		}
		if admin.AlterPartitionReassignments(topic, [][]int32{{99}}) == nil {
			return errors.New("a partition moves to nobody")
		}
		moving, err := admin.ListPartitionReassignments(topic, []int32{0})
		return errors.Join(err, equal("reassignments", len(moving), 0))
	})
}

func saramaRules() error {
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		topic := unique("sarama-rules")
		resource := sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: topic, ResourcePatternType: sarama.AclPatternPrefixed}
		alice := func(operation sarama.AclOperation) *sarama.Acl {
			return &sarama.Acl{Principal: "User:alice", Host: "10.0.0.1", Operation: operation, PermissionType: sarama.AclPermissionAllow}
		}
		rules := []*sarama.Acl{alice(sarama.AclOperationRead), alice(sarama.AclOperationWrite)}
		if err := admin.CreateACLs([]*sarama.ResourceAcls{{Resource: resource, Acls: rules}}); err != nil {
			return err
		}
		longer := topic + "-more"
		filter := sarama.AclFilter{
			ResourceType: sarama.AclResourceTopic, ResourceName: &longer, ResourcePatternTypeFilter: sarama.AclPatternMatch,
			Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
		}
		listed, err := admin.ListAcls(filter)
		if err != nil || len(listed) != 1 {
			return fmt.Errorf("%d resources: %w", len(listed), err)
		}
		if err := equal("rules", len(listed[0].Acls), 2); err != nil {
			return err
		}
		gone, err := admin.DeleteACL(filter, false)
		if err := errors.Join(err, equal("deleted rules", len(gone), 2)); err != nil {
			return err
		}
		listed, err = admin.ListAcls(filter)
		return errors.Join(err, equal("resources that are left", len(listed), 0))
	})
}
