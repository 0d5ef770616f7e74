//! What else another broker's metadata says: settings of brokers and groups, quotas, users, access rules, delegation tokens, producer ids.
//! Decides which of it holds here.

use std::collections::BTreeMap;

use tidelog_model::{
    AclBinding, AclOperation, KafkaError, NodeId, PatternType, Permission, Principal, ProducerId, QuotaEntity,
    QuotaKind, ResourceType, ScramCredential, ScramMechanism, Timestamp,
};

use super::Told;
use crate::broker_config::{BrokerConfig, BrokerOverrides, is_listener_tls};
use crate::client_metrics::ClientMetricsOverrides;
use crate::decide::Refusal;
use crate::decide::acls::check_acl;
use crate::decide::plan::Plan;
use crate::group_config::GroupOverrides;
use crate::image::ClusterImage;
use crate::keys::{
    AclValue, DelegationTokenValue, Key, ProducerIdsValue, QuotasValue, ScramValue, is_configurable, is_token_id,
    is_user,
};
use crate::kraft::{KraftAcl, KraftEntity, KraftImage, KraftScram, KraftToken, resource};
use crate::limits::{
    FIRST_PRODUCER_ID_AFTER_ADOPTION, MAX_ACLS, MAX_CLIENT_METRICS, MAX_DELEGATION_TOKENS, MAX_GROUP_CONFIGS,
    MAX_KEY_BYTES, MAX_SCRAM_CREDENTIALS, MAX_TOKEN_RENEWERS, MAX_USER_BYTES,
};
use crate::overrides::{Overrides, Settings};
use crate::port::Write;

/// How much was taken over beside topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inherited {
    /// Settings of brokers.
    pub broker_settings: usize,
    /// Groups with settings.
    pub groups: usize,
    /// Subscriptions to clients' metrics.
    pub client_metrics: usize,
    /// Entities with quotas.
    pub quotas: usize,
    /// Access rules.
    pub acls: usize,
    /// SCRAM credentials.
    pub credentials: usize,
    /// Delegation tokens.
    pub tokens: usize,
}

/// Writes everything that is no topic. To be repeated from the beginning after a crash: every write is the same again.
pub fn inherit_rest(
    image: &ClusterImage,
    kraft: &KraftImage,
    node: NodeId,
    config: &BrokerConfig,
    now: Timestamp,
    told: &mut Told,
) -> Result<(Inherited, Plan), Refusal> {
    let mut writes = Vec::new();
    if image.producer_ids().is_none() {
        writes.push(Write::put(Key::ProducerIds, producer_ids(kraft, node).encode()));
    }
    let inherited = Inherited {
        broker_settings: broker_settings(kraft, node, told, &mut writes),
        groups: group_settings(kraft, told, &mut writes),
        client_metrics: client_metrics(kraft, told, &mut writes),
        quotas: quotas(kraft, told, &mut writes),
        acls: acls(kraft, told, &mut writes)?,
        credentials: credentials(image, kraft, told, &mut writes),
        tokens: tokens(kraft, config, now, told, &mut writes),
    };
    for (kind, count) in &kraft.unknown {
        told.tell("records of a newer Kafka", format!("{count} of kind {kind}"));
    }
    for controller in kraft.controllers.iter().filter(|id| **id != node.get()) {
        told.tell(
            "controllers beside this node: what it had of their metadata counts, acknowledged or not, and what it never had is missing",
            controller,
        );
    }
    let mut plan = Plan::default();
    plan.chunks(&[], writes);
    Ok((inherited, plan))
}

/// A node that was its own only controller knows which blocks were given. Others may know too little: then no cluster has come that far.
fn producer_ids(kraft: &KraftImage, node: NodeId) -> ProducerIdsValue {
    let alone = kraft.controllers.len() == 1 && kraft.controllers.contains(&node.get());
    let next = kraft.next_producer_id.unwrap_or(0).max(0);
    ProducerIdsValue { next: ProducerId(if alone { next } else { next.max(FIRST_PRODUCER_ID_AFTER_ADOPTION) }) }
}

/// Those of `texts` that may be set here; the others are told by name.
fn possible<Of: Settings + Default>(texts: &BTreeMap<String, String>, mut refuse: impl FnMut(&str)) -> Overrides<Of> {
    let mut fitting = BTreeMap::new();
    for (name, value) in texts {
        match Overrides::<Of>::new([(name.clone(), value.clone())]) {
            Ok(_) => drop(fitting.insert(name.clone(), value.clone())),
            Err(_) => refuse(name),
        }
    }
    Overrides::new(fitting).unwrap_or_default()
}

fn broker_settings(kraft: &KraftImage, node: NodeId, told: &mut Told, writes: &mut Vec<Write>) -> usize {
    let mut count = 0;
    for ((kind, name), texts) in &kraft.configs {
        if *kind != resource::BROKER {
            continue;
        }
        let to = match name.as_str() {
            "" => None,
            name if *name == node.to_string() => Some(node),
            other => {
                told.tell("settings of other brokers", other);
                continue;
            }
        };
        // Its files and keys are of another installation, and a start without them would be refused.
        let (tls, texts): (BTreeMap<_, _>, BTreeMap<_, _>) =
            texts.clone().into_iter().partition(|(name, _)| is_listener_tls(name));
        tls.keys().for_each(|setting| told.tell("TLS of listeners, which is set under [tls] here, or anew", setting));
        let refuse = |setting: &str| {
            told.tell("settings of brokers that are not known here or only at the start (table [broker])", setting);
        };
        let overrides: BrokerOverrides = possible(&texts, refuse);
        count += overrides.iter().count();
        if !overrides.is_empty() {
            writes.push(Write::put(Key::BrokerConfigs(to), overrides.encode()));
        }
    }
    count
}

fn group_settings(kraft: &KraftImage, told: &mut Told, writes: &mut Vec<Write>) -> usize {
    let mut count = 0;
    for ((_, group), texts) in kraft.configs.iter().filter(|((kind, _), _)| *kind == resource::GROUP) {
        if !is_configurable(group) || count >= MAX_GROUP_CONFIGS {
            told.tell("settings of groups that cannot have any here", group);
            continue;
        }
        let refuse = |setting: &str| {
            told.tell("settings of groups that are not known here", format!("{setting} of {group}"));
        };
        let overrides: GroupOverrides = possible(texts, refuse);
        if !overrides.is_empty() {
            count += 1;
            writes.push(Write::put(Key::GroupConfigs(group.clone()), overrides.encode()));
        }
    }
    count
}

fn client_metrics(kraft: &KraftImage, told: &mut Told, writes: &mut Vec<Write>) -> usize {
    let mut count = 0;
    for ((_, name), texts) in kraft.configs.iter().filter(|((kind, _), _)| *kind == resource::CLIENT_METRICS) {
        if !is_configurable(name) || count >= MAX_CLIENT_METRICS {
            told.tell("subscriptions to clients' metrics that are not possible here", name);
            continue;
        }
        let refuse = |setting: &str| {
            told.tell(
                "settings of subscriptions to clients' metrics that are not known here",
                format!("{setting} of {name}"),
            );
        };
        let overrides: ClientMetricsOverrides = possible(texts, refuse);
        if !overrides.is_empty() {
            count += 1;
            writes.push(Write::put(Key::ClientMetrics(name.clone()), overrides.encode()));
        }
    }
    count
}

fn quotas(kraft: &KraftImage, told: &mut Told, writes: &mut Vec<Write>) -> usize {
    let mut taken: BTreeMap<QuotaEntity, QuotasValue> = BTreeMap::new();
    for (parts, quotas) in &kraft.quotas {
        let entity = QuotaEntity::new(parts.iter().map(|(kind, name)| (kind.as_str(), name.as_deref())));
        let fits = |entity: &QuotaEntity| Key::Quotas(entity.clone()).to_string().len() <= MAX_KEY_BYTES;
        let Some(entity) = entity.ok().filter(fits) else {
            told.tell("quotas of entities that are not possible here", entity_name(parts));
            continue;
        };
        for (name, value) in quotas {
            match QuotaKind::from_name(name).filter(|kind| entity.can_have(*kind) && kind.takes(*value)) {
                Some(kind) => drop(taken.entry(entity.clone()).or_default().quotas.insert(kind, *value)),
                None => told.tell("quotas that are not possible here", format!("{name} of {entity}")),
            }
        }
    }
    for (entity, value) in &taken {
        writes.push(Write::put(Key::Quotas(entity.clone()), value.encode()));
    }
    taken.len()
}

fn entity_name(parts: &KraftEntity) -> String {
    let named: Vec<String> =
        parts.iter().map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("*"))).collect();
    named.join(",")
}

/// A rule that allows and is not understood can be passed over, one that denies cannot.
fn acls(kraft: &KraftImage, told: &mut Told, writes: &mut Vec<Write>) -> Result<usize, Refusal> {
    if kraft.acls.len() > MAX_ACLS {
        let message = format!("the metadata has {} access rules, at most {MAX_ACLS} are possible", kraft.acls.len());
        return Err(Refusal::new(KafkaError::PolicyViolation, message));
    }
    let mut count = 0;
    for (id, rule) in &kraft.acls {
        match binding(rule).filter(|rule| check_acl(rule).is_ok()) {
            Some(binding) => {
                count += 1;
                writes.push(Write::put(Key::Acl(*id), AclValue(binding).encode()));
            }
            None if rule.permission == Permission::Allow.code() => {
                told.tell("access rules that are not understood", format!("{} on {}", rule.principal, rule.name));
            }
            None => {
                let message = format!(
                    "the access rule {id} for {} on '{}' is not understood, and may be one that denies: delete it with Kafka first",
                    rule.principal, rule.name
                );
                return Err(Refusal::new(KafkaError::InvalidRequest, message));
            }
        }
    }
    Ok(count)
}

fn binding(rule: &KraftAcl) -> Option<AclBinding> {
    Some(AclBinding {
        resource: ResourceType::from_code(rule.resource)?,
        pattern: PatternType::from_code(rule.pattern)?,
        name: rule.name.clone(),
        principal: rule.principal.clone(),
        host: rule.host.clone(),
        operation: AclOperation::from_code(rule.operation)?,
        permission: Permission::from_code(rule.permission)?,
    })
}

/// A user that is here already was made for here (`tidelog user create` before the first start), and keeps its password.
fn credentials(image: &ClusterImage, kraft: &KraftImage, told: &mut Told, writes: &mut Vec<Write>) -> usize {
    let mut count = 0;
    for ((user, mechanism), credential) in &kraft.scram {
        match credential_of(user, *mechanism, credential).filter(|_| count < MAX_SCRAM_CREDENTIALS) {
            Some((mechanism, credential))
                if image.scram(user, mechanism).is_some_and(|here| here.value != credential) =>
            {
                told.tell("users that were made here before; they keep the passwords that they have here", user);
            }
            Some((mechanism, credential)) => {
                count += 1;
                writes.push(Write::put(Key::Scram(mechanism, user.clone()), ScramValue(credential).encode()));
            }
            None => told.tell("users whose credentials are not possible here", user),
        }
    }
    count
}

fn credential_of(user: &str, mechanism: i8, from: &KraftScram) -> Option<(ScramMechanism, ScramCredential)> {
    let mechanism = ScramMechanism::from_code(mechanism).filter(|_| is_user(user))?;
    let fits = |key: &[u8]| key.len() == mechanism.key_bytes();
    if from.iterations < 1 || !fits(&from.stored_key) || !fits(&from.server_key) {
        return None;
    }
    let KraftScram { salt, stored_key, server_key, iterations } = from.clone();
    Some((mechanism, ScramCredential { salt, stored_key, server_key, iterations }))
}

/// A token's secret follows from its id and `delegation.token.secret.key`: with Kafka's key the tokens go on.
fn tokens(
    kraft: &KraftImage,
    config: &BrokerConfig,
    now: Timestamp,
    told: &mut Told,
    writes: &mut Vec<Write>,
) -> usize {
    let mut count = 0;
    for (id, token) in &kraft.tokens {
        let Some(value) = token_of(id, token).filter(|_| count < MAX_DELEGATION_TOKENS) else {
            told.tell("delegation tokens that are not possible here", id);
            continue;
        };
        if value.has_expired(now) {
            continue;
        }
        if config.delegation_token_secret.is_none() {
            told.tell("delegation tokens, because delegation.token.secret.key is not set to Kafka's", id);
            continue;
        }
        count += 1;
        writes.push(Write::put(Key::DelegationToken(id.clone()), value.encode()));
    }
    count
}

fn token_of(id: &str, token: &KraftToken) -> Option<DelegationTokenValue> {
    let user =
        |text: &String| text.strip_prefix("User:").filter(|name| name.len() <= MAX_USER_BYTES).map(Principal::user);
    if !is_token_id(id) || token.renewers.len() > MAX_TOKEN_RENEWERS {
        return None;
    }
    Some(DelegationTokenValue {
        owner: user(&token.owner)?,
        requester: user(&token.requester)?,
        renewers: token.renewers.iter().map(user).collect::<Option<_>>()?,
        issued: Timestamp(token.issued),
        expires: Timestamp(token.expires),
        ends: Timestamp(token.ends),
    })
}
