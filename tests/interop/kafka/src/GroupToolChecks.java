import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;

/** The tools for groups. */
final class GroupToolChecks {
    private GroupToolChecks() {}

    private static final String GROUPS = "consumer.group.ConsumerGroupCommand";

    static void add(Checks checks) {
        for (String protocol : List.of("classic", "consumer")) {
            checks.add("consumer-groups: a group with a member, " + protocol, () -> member(protocol));
        }
        checks.add("consumer-groups: reset-offsets by every strategy", GroupToolChecks::resets);
        checks.add("consumer-groups: delete-offsets and delete", GroupToolChecks::deletes);
        checks.add("consumer-groups: what is refused", GroupToolChecks::refusals);
    }

    private static void member(String protocol) throws Exception {
        String topic = Client.topic("tool-member-" + protocol, 2, Map.of());
        String group = Checks.unique("tool-member-" + protocol);
        Client.send(Map.of(), Client.numbers(topic, 10));
        Map<String, String> settings = Map.of("group.protocol", protocol, "group.id", group, "client.id", "someone");
        try (KafkaConsumer<byte[], byte[]> consumer = Client.consumer(settings)) {
            consumer.subscribe(List.of(topic));
            Checks.until("all records", () -> {
                consumer.poll(Duration.ofMillis(200));
                return consumer.assignment().size() == 2 && consumer.position(consumer.assignment().iterator().next()) >= 0;
            });
            Checks.until("the position of partition 0", () -> {
                consumer.poll(Duration.ofMillis(200));
                consumer.commitSync();
                return consumer.committed(consumer.assignment()).values()
                        .stream().anyMatch(offset -> offset != null && offset.offset() == 10);
            });
            // Now nobody polls: the member lives on by its heartbeats alone.
            String type = protocol.equals("classic") ? "Classic" : "Consumer";
            String of = " --group " + group;
            Tool.run(GROUPS, "--list").ok().matches(group);
            Tool.run(GROUPS, "--list --state stable --type " + protocol).ok().matches(group + "\\s+" + type + "\\s+Stable\\s*");
            Tool.run("GroupsCommand", "--list").ok().matches(group + "\\s+" + type + "\\s+consumer\\s*");
            Tool.run(GROUPS, "--describe" + of).ok()
                    .matches(group + "\\s+" + topic + "\\s+0\\s+10\\s+10\\s+0\\s+\\S+\\s+/127.0.0.1\\s+someone\\s*");
            Tool.run(GROUPS, "--describe --members --verbose" + of).ok()
                    .matches(group + "\\s+\\S+\\s+/127.0.0.1\\s+someone\\s+2\\s+.*" + topic + "(:0,1|\\(0,1\\)).*");
            String assignor = protocol.equals("classic") ? "range" : "uniform";
            Tool.run(GROUPS, "--describe --state" + of).ok()
                    .matches(group + "\\s+" + Checks.BROKERS + "\\s+\\(1\\)\\s+" + assignor + "\\s+Stable\\s+1\\s*");
            Tool.run(GROUPS, "--delete" + of).fails("could not be deleted due to");
            Tool.run(GROUPS, "--reset-offsets --to-earliest --execute --topic " + topic + of)
                    .fails("but the current state is Stable");
        }
        Tool.run(GROUPS, "--describe --group " + group).ok().fails("Consumer group '" + group + "' has no active members.");
    }

    private static void resets() throws Exception {
        String topic = Client.topic("tool-reset", 2, Map.of());
        String group = Checks.unique("tool-reset");
        Client.send(Map.of(), Client.numbers(topic, 10));
        String of = "--reset-offsets --group " + group + " --topic " + topic + " ";
        expect(group, topic, 10, Tool.run(GROUPS, of + "--to-latest --execute"));
        expect(group, topic, 0, Tool.run(GROUPS, of + "--to-earliest --execute"));
        expect(group, topic, 7, Tool.run(GROUPS, of + "--to-offset 7 --execute"));
        expect(group, topic, 5, Tool.run(GROUPS, of + "--shift-by -2 --execute"));
        expect(group, topic, 5, Tool.run(GROUPS, of + "--to-current --execute"));
        expect(group, topic, 0, Tool.run(GROUPS, of + "--by-duration PT1H --execute"));
        expect(group, topic, 10, Tool.run(GROUPS, of + "--to-datetime 2199-01-01T00:00:00.000 --execute"));
        expect(group, topic, 10, Tool.run(GROUPS, of + "--shift-by 5 --execute"));
        expect(group, topic, 3, Tool.run(GROUPS, of.replace("--topic " + topic, "--topic " + topic + ":0")
                + "--to-offset 3 --execute"));
        expect(group, topic, 0, Tool.run(GROUPS, of + "--to-earliest --dry-run"));
        Tool plan = Tool.run(GROUPS, of + "--to-offset 6 --dry-run --export").ok().matches(topic + ",0,6");
        Path file = Files.writeString(Files.createTempFile("tidelog-tools", ".csv"), plan.out);
        file.toFile().deleteOnExit();
        expect(group, topic, 6, Tool.run(GROUPS, "--reset-offsets --execute --group " + group + " --from-file " + file));
        Tool.run(GROUPS, "--describe --group " + group).ok().matches(group + "\\s+" + topic
                + "\\s+0\\s+6\\s+10\\s+4\\s+-\\s+-\\s+-\\s*");
    }

    private static void expect(String group, String topic, long offset, Tool reset) {
        reset.ok().matches(group + "\\s+" + topic + "\\s+0\\s+" + offset + "\\s*");
    }

    private static void deletes() throws Exception {
        String topic = Client.topic("tool-forget", 2, Map.of());
        String group = Checks.unique("tool-forget");
        Tool.run(GROUPS, "--reset-offsets --to-latest --execute --group " + group + " --topic " + topic).ok();
        Tool.run(GROUPS, "--delete-offsets --group " + group + " --topic " + topic + ":0").ok()
                .matches(topic + "\\s+0\\s+Successful\\s*");
        Tool.run(GROUPS, "--describe --group " + group).ok().matches(group + "\\s+" + topic + "\\s+1\\s+0.*").lacks(topic + "  0");
        Tool.run(GROUPS, "--delete --group " + group).ok().prints("Deletion of requested consumer groups ('" + group
                + "') was successful.");
        Tool.run(GROUPS, "--list").ok().lacks(group);
        // A group that has lost its last position can still be deleted.
        String emptied = Checks.unique("tool-emptied");
        Tool.run(GROUPS, "--reset-offsets --to-latest --execute --group " + emptied + " --topic " + topic).ok();
        Tool.run(GROUPS, "--delete-offsets --group " + emptied + " --topic " + topic).ok();
        Tool.run(GROUPS, "--delete --group " + emptied).ok().prints("Deletion of requested consumer groups ('" + emptied
                + "') was successful.");
    }

    private static void refusals() throws Exception {
        Tool.run(GROUPS, "--describe --group nobody").fails("GroupIdNotFoundException: Group nobody not found.");
        Tool.run(GROUPS, "--delete --group nobody").fails("Group 'nobody' could not be deleted due to")
                .fails("GroupIdNotFoundException");
        String offsets = "--delete-offsets --group nobody --topic " + Client.topic("tool-nobody", 1, Map.of());
        Tool.run(GROUPS, offsets).fails("Error: The group id does not exist.");
    }
}
