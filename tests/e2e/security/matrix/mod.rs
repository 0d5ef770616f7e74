//! The matrix: doors × operations × principals. A row says which right an operation needs, and what is heard with it and without; a
//! standing says by which rules somebody has the right or lacks it. Every row is asked by everybody, through the door itself. The rows are
//! written down from Kafka's documentation ("Operations and Resources on Protocols") and never computed: a rule that the server forgets,
//! or asks for in vain, shows here.

mod doors;
mod kafka;
mod rows;

use tidelog_harness::model::ResourceType::{Cluster, Group, Topic, TransactionalId, User};
use tidelog_harness::model::{KafkaError, Operation, PatternType, Permission, ResourceType, TopicId};
use tidelog_harness::protocol::ApiKey;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::{Server, wait_for};

use crate::{PASSWORD, SECRET};

const QUICK: std::time::Duration = std::time::Duration::from_secs(120);
/// Who may do everything, without a rule.
const SUPER_USER: &str = "root";

/// An operation on a resource. `{}` in a name stands for who asks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Right(pub(crate) Operation, pub(crate) ResourceType, pub(crate) &'static str);

pub(crate) fn topic(operation: Operation, name: &'static str) -> Right {
    Right(operation, Topic, name)
}

pub(crate) fn group(operation: Operation, name: &'static str) -> Right {
    Right(operation, Group, name)
}

pub(crate) fn transaction(operation: Operation, name: &'static str) -> Right {
    Right(operation, TransactionalId, name)
}

pub(crate) fn cluster(operation: Operation) -> Right {
    Right(operation, Cluster, "kafka-cluster")
}

/// One operation at one door.
pub(crate) struct Row<Ask> {
    /// The API that it asks at Kafka's door.
    pub(crate) api: Option<ApiKey>,
    what: &'static str,
    needs: Right,
    /// What it needs too, and everybody has here.
    beside: Vec<Right>,
    /// What opens it as well.
    or: Vec<Right>,
    /// The right with any one resource of the kind is enough.
    of_any: bool,
    refused: &'static str,
    open: &'static str,
    pub(crate) ask: Ask,
}

impl<Ask> Row<Ask> {
    pub(crate) fn new(
        api: Option<ApiKey>,
        what: &'static str,
        needs: Right,
        refused: &'static str,
        open: &'static str,
        ask: Ask,
    ) -> Self {
        Row { api, what, needs, beside: vec![], or: vec![], of_any: false, refused, open, ask }
    }

    /// Is it one of this route or method? (`what` may say of which case.)
    pub(crate) fn is_of(&self, route: &str) -> bool {
        self.what.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    pub(crate) fn beside(mut self, rights: impl IntoIterator<Item = Right>) -> Self {
        self.beside.extend(rights);
        self
    }

    pub(crate) fn of_any(mut self) -> Self {
        self.of_any = true;
        self
    }

    pub(crate) fn or(mut self, rights: impl IntoIterator<Item = Right>) -> Self {
        self.or.extend(rights);
        self
    }
}

/// How somebody stands to a row's right.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Standing {
    /// No rule names him.
    Stranger,
    /// A rule for exactly this resource.
    Literal,
    /// A rule for all that begin like it.
    Prefixed,
    /// A rule for all.
    Wildcard,
    /// May everything with the resource, but a rule for all denies this.
    DeniedEverywhere,
    /// May this with all, but a rule for those that begin like it denies it.
    DeniedByPrefix,
    /// From another address.
    Elsewhere,
    /// From this address.
    Here,
    /// By an operation that implies it.
    Implied,
    /// May everything with the resource but this and what implies it.
    Otherwise,
    /// The same with another resource of the kind.
    Neighbour,
    /// May everything with the cluster, and nothing else.
    ClusterOnly,
    SuperUser,
}

const STANDINGS: [Standing; 13] = [
    Standing::Stranger,
    Standing::Literal,
    Standing::Prefixed,
    Standing::Wildcard,
    Standing::DeniedEverywhere,
    Standing::DeniedByPrefix,
    Standing::Elsewhere,
    Standing::Here,
    Standing::Implied,
    Standing::Otherwise,
    Standing::Neighbour,
    Standing::ClusterOnly,
    Standing::SuperUser,
];

/// A rule before it has a principal.
struct Rule {
    right: Right,
    /// `None` is ALL.
    operation: Option<Operation>,
    name: &'static str,
    pattern: PatternType,
    host: &'static str,
    permission: Permission,
}

impl Rule {
    fn allow(right: Right) -> Self {
        let (operation, name) = (Some(right.0), right.2);
        let (pattern, permission) = (PatternType::Literal, Permission::Allow);
        Rule { right, operation, name, pattern, host: "*", permission }
    }

    fn deny(right: Right) -> Self {
        Rule { permission: Permission::Deny, ..Rule::allow(right) }
    }

    fn everything(self) -> Self {
        Rule { operation: None, ..self }
    }

    /// For all that begin like it. The cluster has one name only.
    fn prefixed(self) -> Self {
        let name = match self.right.1 {
            Cluster => self.name,
            User => "User:m-",
            _ => "m-",
        };
        Rule { name, pattern: PatternType::Prefixed, ..self }
    }

    /// For all there are.
    fn anywhere(self) -> Self {
        let name = if self.right.1 == Cluster { self.name } else { "*" };
        Rule { name, ..self }
    }

    fn creation(&self, who: &str) -> AclCreation {
        AclCreation {
            resource_type: self.right.1.code(),
            resource_name: self.name.replace("{}", who).as_str().into(),
            resource_pattern_type: self.pattern.code(),
            principal: format!("User:{who}").as_str().into(),
            host: self.host.into(),
            operation: self.operation.map_or(2, Operation::code),
            permission_type: self.permission.code(),
            ..Default::default()
        }
    }
}

/// Kafka's table of the operations that each kind of resource has.
fn operations(kind: ResourceType) -> &'static [Operation] {
    use Operation::*;
    match kind {
        Topic => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
        Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
        Cluster => &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite],
        TransactionalId => &[Write, Describe],
        ResourceType::DelegationToken => &[Describe],
        User => &[CreateTokens, DescribeTokens],
    }
}

/// What implies an operation.
fn implied_by(operation: Operation) -> &'static [Operation] {
    match operation {
        Operation::Describe => &[Operation::Read, Operation::Write, Operation::Delete, Operation::Alter],
        Operation::DescribeConfigs => &[Operation::AlterConfigs],
        _ => &[],
    }
}

/// The rules of a standing, and whether the operation is open then; `None` where the standing has no meaning.
fn standing<Ask>(standing: Standing, row: &Row<Ask>) -> Option<(Vec<Rule>, bool)> {
    let needs = row.needs;
    let allow = Rule::allow(needs);
    let same = row.or.iter().filter(|right| right.1 == needs.1);
    Some(match standing {
        Standing::Stranger => (vec![], false),
        Standing::Literal => (vec![allow], true),
        Standing::Prefixed => (vec![allow.prefixed()], true),
        Standing::Wildcard if needs.1 == Cluster => return None,
        Standing::Wildcard => (vec![allow.anywhere()], true),
        Standing::DeniedEverywhere => {
            let mut rules = vec![allow.everything(), Rule::deny(needs).anywhere()];
            rules.extend(same.map(|right| Rule::deny(*right).anywhere()));
            (rules, false)
        }
        Standing::DeniedByPrefix => {
            let mut rules = vec![allow.anywhere(), Rule::deny(needs).prefixed()];
            rules.extend(same.map(|right| Rule::deny(*right).prefixed()));
            // Others do not begin like it.
            (rules, row.of_any)
        }
        Standing::Elsewhere => (vec![Rule { host: "192.0.2.1", ..allow }], false),
        Standing::Here => (vec![Rule { host: "127.0.0.1", ..allow }], true),
        Standing::Implied => {
            let known = |operation: &&Operation| operations(needs.1).contains(operation);
            let mut implying = implied_by(needs.0).iter().filter(known);
            let last = implying.next_back()?;
            (vec![Rule { operation: Some(*last), ..allow }], true)
        }
        Standing::Otherwise => {
            let same: Vec<Operation> = same.map(|right| right.0).collect();
            let other = |operation: &&Operation| {
                let opens = |right: Operation| **operation == right || implied_by(right).contains(operation);
                !opens(needs.0) && !same.iter().any(|right| opens(*right))
            };
            let others = operations(needs.1).iter().filter(other);
            (others.map(|operation| Rule { operation: Some(*operation), ..Rule::allow(needs) }).collect(), false)
        }
        Standing::Neighbour if needs.1 == Cluster => return None,
        Standing::Neighbour => {
            // What the name begins with, and what begins with the name.
            let names = if needs.1 == User { ["User:m", "User:m-users"] } else { ["m", "m-tt"] };
            (names.map(|name| Rule { name, ..Rule::allow(needs) }.everything()).into(), row.of_any)
        }
        Standing::ClusterOnly => {
            let by_cluster = needs.1 == Cluster || row.or.iter().any(|right| right.1 == Cluster);
            (vec![Rule::allow(cluster(Operation::Alter)).everything()], by_cluster)
        }
        Standing::SuperUser => (vec![], true),
    })
}

/// Who asks, and what he is told of the server.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Unlike all others'.
    pub(crate) who: String,
    /// The principal: the super user is always the same.
    pub(crate) principal: String,
    /// The id of the topic `m-t`.
    pub(crate) topic_id: TopicId,
}

/// One question of the matrix.
pub(crate) struct Question<'a, Ask> {
    pub(crate) row: &'a Row<Ask>,
    pub(crate) asker: Asker,
    standing: Standing,
    open: bool,
}

impl<Ask> Question<'_, Ask> {
    /// What must be heard.
    pub(crate) fn compare(&self, heard: &str) -> Option<String> {
        let expected = if self.open { self.row.open } else { self.row.refused };
        (heard != expected).then(|| {
            let (api, what) = (self.row.api.map_or("", ApiKey::name), self.row.what);
            format!("{api} {what}, {:?} ({:?}): {heard} instead of {expected}", self.standing, self.row.needs)
        })
    }
}

/// Everybody asks for every row; their rules hold when this returns.
pub(crate) fn questions<'a, Ask>(server: &Server, prefix: &str, rows: &'a [Row<Ask>]) -> Vec<Question<'a, Ask>> {
    let mut admin = Raw::connect(server.kafka());
    let topic_id = prepare(server, &mut admin);
    let (mut questions, mut creations, mut topics) = (Vec::new(), Vec::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        for at in STANDINGS {
            let Some((rules, open)) = standing(at, row) else { continue };
            let who = format!("m-{prefix}-{number}-{at:?}");
            let principal = if at == Standing::SuperUser { SUPER_USER.to_owned() } else { who.clone() };
            let beside = row.beside.iter().map(|right| Rule::allow(*right));
            creations.extend(beside.chain(rules).map(|rule| rule.creation(&principal)));
            // What an open operation takes away is there for each anew.
            if row.needs.2 == "m-fresh-{}" {
                topics.push(format!("m-fresh-{who}"));
            }
            questions.push(Question { row, asker: Asker { who, principal, topic_id }, standing: at, open });
        }
    }
    for topics in topics.chunks(50) {
        create_topics(&mut admin, topics);
    }
    for creations in creations.chunks(50) {
        let answer = admin.call(3, &CreateAclsRequest { creations: creations.to_vec(), ..Default::default() });
        assert!(answer.results.iter().all(|result| result.error_code == 0), "{answer:?}");
    }
    questions
}

fn create_topics(admin: &mut Raw, names: &[String]) {
    let topic = |name: &String| CreatableTopic {
        name: name.as_str().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let answer =
        admin.call(7, &CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() });
    let failed: Vec<_> = answer.topics.iter().filter(|topic| topic.error_code != 0).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// What the rows speak of: a topic, a group with a position, a transactional id, a token. Coordinators are loaded then.
fn prepare(server: &Server, admin: &mut Raw) -> TopicId {
    create_topics(admin, &["m-t".to_owned()]);
    server.run(&["topic", "config", "m-t", "--set", "tidelog.table.enable=true"]).expect(0);
    server.run_with(&["produce", "m-t"], b"{\"n\":1}\n").expect(0);
    let find = |key_type, key: &str| FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    for (kind, key) in [(0, "m-g"), (1, "m-x")] {
        wait_for(|| (admin.call(4, &find(kind, key)).coordinators[0].error_code == 0).then_some(()), QUICK, key);
    }
    let commit = rows::commit("m-listed");
    wait_for(
        || (admin.call(9, &commit).topics[0].partitions[0].error_code == 0).then_some(()),
        QUICK,
        "the group's coordinator is loaded",
    );
    let init = rows::init_producer(Some("m-x"));
    wait_for(|| (admin.call(4, &init).error_code == 0).then_some(()), QUICK, "the transaction's coordinator is loaded");
    let asked = MetadataRequestTopic { name: Some("m-t".into()), ..Default::default() };
    let metadata = admin.call(12, &MetadataRequest { topics: Some(vec![asked]), ..Default::default() });
    metadata.topics[0].topic_id
}

/// A server that asks everybody who he is at a listener of Kafka's and over HTTP; on loopback there is an open one for the test.
pub(crate) fn secured() -> Server {
    let args = [
        "--kafka-listen",
        "SASL_PLAINTEXT://127.0.0.1:0",
        "--kafka-sasl-mechanism",
        "OAUTHBEARER",
        "--authorizer",
        "acl",
        "--super-user",
        "User:ANONYMOUS;User:root",
        "--jwt-secret-env",
        "E2E_SECRET",
        "--set",
        "delegation.token.secret.key=0123456789abcdef0123456789abcdef",
        "--set",
        "offsets.topic.num.partitions=1",
        "--set",
        "transaction.state.log.num.partitions=1",
    ];
    let options = tidelog_harness::options!().env("E2E_SECRET", SECRET).env("TIDELOG_NEW_PASSWORD", PASSWORD);
    Server::start(options.args(args))
}

/// Kafka's name of an error.
pub(crate) fn named(code: i16) -> String {
    KafkaError::from_code(code).map_or_else(|| format!("error {code}"), |error| error.name().to_owned())
}

/// What somebody hears of a thing that a list shows, or hides from who may not see it.
pub(crate) fn listed(there: bool) -> String {
    if there { "listed" } else { "hidden" }.to_owned()
}

/// All that is not as it must be, and not only the first.
pub(crate) fn assert_none(wrong: Vec<String>, asked: usize) {
    assert!(asked > 0 && wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
}
