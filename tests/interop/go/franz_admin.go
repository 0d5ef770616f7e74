package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func franzAdmin(use func(*kadm.Client) error) error {
	client, err := franz()
	if err != nil {
		return err
	}
	defer client.Close()
	return use(kadm.NewClient(client))
}

func franzTopics() error {
	topic, err := franzTopic("admin", 3)
	if err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		topics, err := admin.ListTopics(context.Background())
		if err != nil {
			return err
		}
		if err := equal("partitions", len(topics[topic].Partitions), 3); err != nil {
			return err
		}
		_, err = admin.CreateTopic(context.Background(), 1, 1, nil, topic)
		if err := refused(err, kerr.TopicAlreadyExists); err != nil {
			return err
		}
		deleted, err := admin.DeleteTopics(context.Background(), topic)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return err
		}
		deleted, _ = admin.DeleteTopics(context.Background(), topic)
		return refused(deleted.Error(), kerr.UnknownTopicOrPartition)
	})
}

func franzOffsets() error {
	topic, err := franzTopic("offsets", 1)
	if err != nil {
		return err
	}
	records, start := secondsApart(10)
	if err := franzSend(topic, records); err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		background := context.Background()
		ends, err := admin.ListEndOffsets(background, topic)
		if err != nil {
			return err
		}
		starts, err := admin.ListStartOffsets(background, topic)
		if err != nil {
			return err
		}
		later, err := admin.ListOffsetsAfterMilli(background, start.Add(3001*time.Millisecond).UnixMilli(), topic)
		if err != nil {
			return err
		}
		got := []int64{starts[topic][0].Offset, later[topic][0].Offset, ends[topic][0].Offset}
		return equal("first offset, offset by time, end", got, []int64{0, 4, 10})
	})
}

func franzDeleteRecords() error {
	topic, err := franzTopic("delete-records", 2)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 10)); err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		var before kadm.Offsets
		before.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4})
		before.Add(kadm.Offset{Topic: topic, Partition: 1, At: 1})
		deleted, err := admin.DeleteRecords(context.Background(), before)
		if err != nil {
			return err
		}
		if err := equal("first offset", deleted[topic][0].LowWatermark, 4); err != nil {
			return err
		}
		if err := refused(deleted[topic][1].Err, kerr.OffsetOutOfRange); err != nil {
			return err
		}
		read, err := franzRead(topic, 6)
		return errors.Join(err, equal("values", values(read), values(numbers(4, 10))))
	})
}

func franzEpochs() error {
	topic, err := franzTopic("epochs", 1)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 10)); err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		var request kadm.OffsetForLeaderEpochRequest
		request.Add(topic, 0, 0)
		found, err := admin.OffsetForLeaderEpoch(context.Background(), request)
		if err != nil {
			return err
		}
		one := found[topic][0]
		return errors.Join(one.Err, equal("epoch and end", []int64{int64(one.LeaderEpoch), one.EndOffset}, []int64{0, 10}))
	})
}

func franzDescribe() error {
	topic, err := franzTopic("describe", 1)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 7)); err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		set := kadm.TopicsSet{}
		set.Add(topic, 0)
		producers, err := admin.DescribeProducers(context.Background(), set)
		if err != nil {
			return err
		}
		active := producers[topic].Partitions[0].ActiveProducers.Sorted()
		if err := equal("producers", len(active), 1); err != nil {
			return err
		}
		if err := equal("last sequence", active[0].LastSequence, 6); err != nil {
			return err
		}
		directories, err := admin.DescribeAllLogDirs(context.Background(), set)
		if err != nil {
			return err
		}
		size := int64(0)
		directories.Each(func(one kadm.DescribedLogDir) { size += one.Size() })
		if size == 0 {
			return errors.New("the partition has no bytes")
		}
		return nil
	})
}

func franzConfigs() error {
	topic, err := franzTopic("configs", 1)
	if err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		setting := func(name string) (string, error) {
			described, err := admin.DescribeTopicConfigs(context.Background(), topic)
			if err != nil {
				return "", err
			}
			for _, one := range described[0].Configs {
				if one.Key == name {
					return one.MaybeValue(), nil
				}
			}
			return "", fmt.Errorf("no %s", name)
		}
		alter := func(change kadm.AlterConfig) error {
			altered, err := admin.AlterTopicConfigs(context.Background(), []kadm.AlterConfig{change}, topic)
			if err != nil {
				return err
			}
			return altered[0].Err
		}
		if err := alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("1000000")}); err != nil {
			return err
		}
		now, err := setting("retention.ms")
		if err := errors.Join(err, equal("retention.ms", now, "1000000")); err != nil {
			return err
		}
		if err := alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}); err != nil {
			return err
		}
		now, err = setting("retention.ms")
		err = errors.Join(err, equal("retention.ms", now, "604800000"))
		unknown := kadm.AlterConfig{Op: kadm.SetConfig, Name: "nonsense", Value: kadm.StringPtr("1")}
		return errors.Join(err, refused(alter(unknown), kerr.InvalidConfig))
	})
}

func franzPartitions() error {
	topic, err := franzTopic("partitions", 1)
	if err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		grow := func(to int) error {
			grown, err := admin.UpdatePartitions(context.Background(), to, topic)
			return errors.Join(err, grown[topic].Err)
		}
		err := errors.Join(grow(3), refused(grow(2), kerr.InvalidPartitions))
		topics, failed := admin.ListTopics(context.Background(), topic)
		return errors.Join(err, failed, equal("partitions", len(topics[topic].Partitions), 3))
	})
}

func franzGroups() error {
	topic, err := franzTopic("groups", 2)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 10)); err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		background, group := context.Background(), unique("franz-groups")
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 4, LeaderEpoch: -1, Metadata: "four"})
		offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 0, LeaderEpoch: -1})
		committed, err := admin.CommitOffsets(background, group, offsets)
		if err := errors.Join(err, committed.Error()); err != nil {
			return err
		}
		fetched, err := admin.FetchOffsets(background, group)
		if err != nil {
			return err
		}
		one := fetched[topic][0]
		if err := equal("offset and metadata", fmt.Sprint(one.At, one.Metadata), "4four"); err != nil {
			return err
		}
		listed, err := admin.ListGroups(background, "Empty")
		if err := errors.Join(err, equal("the listed one", listed[group].State, "Empty")); err != nil {
			return err
		}
		described, err := admin.DescribeGroups(background, group)
		if err := errors.Join(err, described[group].Err, equal("members", len(described[group].Members), 0)); err != nil {
			return err
		}
		lags, err := admin.Lag(background, group)
		if err := errors.Join(err, equal("lag", lags[group].Lag.Total(), 6)); err != nil {
			return err
		}
		set := kadm.TopicsSet{}
		set.Add(topic, 1)
		forgotten, err := admin.DeleteOffsets(background, group, set)
		if err := errors.Join(err, forgotten[topic][1]); err != nil {
			return err
		}
		fetched, err = admin.FetchOffsets(background, group)
		if err := errors.Join(err, equal("partitions with an offset", len(fetched[topic]), 1)); err != nil {
			return err
		}
		if _, err := admin.DeleteGroup(background, group); err != nil {
			return err
		}
		_, err = admin.DeleteGroup(background, group)
		return refused(err, kerr.GroupIDNotFound)
	})
}

func franzElections() error {
	topic, err := franzTopic("elections", 1)
	if err != nil {
		return err
	}
	return franzAdmin(func(admin *kadm.Client) error {
		set := kadm.TopicsSet{}
		set.Add(topic, 0)
		elected, err := admin.ElectLeaders(context.Background(), kadm.ElectPreferredReplica, set)
		if err := errors.Join(err, refused(elected[topic][0].Err, kerr.ElectionNotNeeded)); err != nil {
			return err
		}
		var away kadm.AlterPartitionAssignmentsReq
		away.Assign(topic, 0, []int32{99})
		moved, err := admin.AlterPartitionAssignments(context.Background(), away)
		if err := errors.Join(err, refused(moved[topic][0].Err, kerr.InvalidReplicaAssignment)); err != nil {
			return err
		}
		moving, err := admin.ListPartitionReassignments(context.Background(), set)
		return errors.Join(err, equal("reassignments", len(moving), 0))
	})
}

func franzTransactionAdmin() error {
	topic, err := franzTopic("transaction-admin", 1)
	if err != nil {
		return err
	}
	client, err := franz(kgo.TransactionalID(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
		return err
	}
	err = franzAdmin(func(admin *kadm.Client) error {
		listed, err := admin.ListTransactions(context.Background(), nil, []string{"Ongoing"})
		if err := errors.Join(err, equal("the listed one", listed[topic].State, "Ongoing")); err != nil {
			return err
		}
		described, err := admin.DescribeTransactions(context.Background(), topic)
		one := described[topic]
		return errors.Join(err, one.Err, equal("partitions", len(one.Topics[topic]), 1), equal("producer", one.ProducerID, listed[topic].ProducerID))
	})
	return errors.Join(err, client.EndTransaction(context.Background(), kgo.TryAbort))
}

func franzRules() error {
	topic := unique("franz-rules")
	return franzAdmin(func(admin *kadm.Client) error {
		background := context.Background()
		alice := func() *kadm.ACLBuilder {
			return kadm.NewACLs().Topics(topic).Allow("User:alice").AllowHosts("10.0.0.1").Operations(kadm.OpRead, kadm.OpWrite).
				ResourcePatternType(kadm.ACLPatternPrefixed)
		}
		made, err := admin.CreateACLs(background, alice())
		for _, one := range made {
			err = errors.Join(err, one.Err)
		}
		if err := errors.Join(err, equal("rules", len(made), 2)); err != nil {
			return err
		}
		count := func() (int, error) {
			any := kadm.NewACLs().Topics(topic + "-more").Allow().AllowHosts().Deny().DenyHosts().Operations(kadm.OpAny).
				ResourcePatternType(kadm.ACLPatternMatch)
			described, err := admin.DescribeACLs(background, any)
			found := 0
			for _, one := range described {
				err = errors.Join(err, one.Err)
				found += len(one.Described)
			}
			return found, err
		}
		found, err := count()
		// The filter asks for what is allowed and what is denied; the rules are in the first answer alone.
		if err := errors.Join(err, equal("rules that match", found, 2)); err != nil {
			return err
		}
		deleted, err := admin.DeleteACLs(background, alice())
		gone := 0
		for _, one := range deleted {
			err = errors.Join(err, one.Err)
			gone += len(one.Deleted)
		}
		if err := errors.Join(err, equal("deleted rules", gone, 2)); err != nil {
			return err
		}
		found, err = count()
		return errors.Join(err, equal("rules that are left", found, 0))
	})
}
