//! What an event looks like in the audit log: one JSON object. Decides the fields' names; nothing in them is a secret.

use std::fmt;

use serde_json::{Value, json};
use tidelog_model::{Caller, Door};
use tidelog_security::AuditEvent;

/// Longest name of a resource or reason that is written, bytes: clients make them up.
pub(super) const MAX_TEXT_BYTES: usize = 1024;

/// What an event says but for its time: the same for the same.
pub(super) fn body(event: &AuditEvent<'_>) -> String {
    let body = match event {
        AuditEvent::Authentication { principal, claimed, mechanism, token_id, host, door, reason } => json!({
            "event": "authentication",
            "principal": principal.map(|principal| shortened(principal.as_str())),
            "claimed": claimed.map(shortened),
            "mechanism": mechanism,
            "token_id": token_id.map(shortened),
            "host": host.to_string(),
            "door": name(*door),
            "success": principal.is_some(),
            "reason": reason.map(shortened),
        }),
        AuditEvent::Authorization { caller, operation, resource, about, allowed } => of(
            caller,
            json!({
                "event": "authorization",
                "operation": operation.name(),
                "resource_type": resource.kind().name(),
                "resource": shortened(resource.name()),
                "about": about.map(bounded),
                "allowed": allowed,
            }),
        ),
        AuditEvent::Change { caller, change, name, refused } => of(
            caller,
            json!({
                "event": "change",
                "change": change,
                "name": bounded(name),
                "success": refused.is_none(),
                "reason": refused.map(|error| error.name()),
            }),
        ),
        AuditEvent::DelegationToken { caller, change, id, owner, about, refused } => of(
            caller,
            json!({
                "event": "delegation_token",
                "operation": change.name(),
                "token_id": id.map(shortened),
                "owner": owner.map(|owner| shortened(owner.as_str())),
                "about": about.map(bounded),
                "success": refused.is_none(),
                "reason": refused.map(|error| error.name()),
            }),
        ),
    };
    body.to_string()
}

/// The line of an event that has come so often, the last time now.
pub(super) fn stamped(body: &str, time: &str, count: u64) -> String {
    // invariant: a body is an object with fields.
    let fields = body.strip_prefix('{').unwrap_or(body);
    if count == 1 {
        format!("{{\"time\":\"{time}\",{fields}\n")
    } else {
        format!("{{\"time\":\"{time}\",\"count\":{count},{fields}\n")
    }
}

/// What an event of a caller says, with who that was.
fn of(caller: &Caller, mut event: Value) -> Value {
    for (name, value) in [
        ("principal", shortened(caller.principal.as_str())),
        ("host", &caller.host.to_string()),
        ("client_id", shortened(&caller.client_id)),
        ("door", name(caller.door)),
    ] {
        // invariant: every event above is an object.
        event[name] = value.into();
    }
    event
}

/// As much of the text as a line has room for: what it names came from a request of any length.
fn bounded(about: &dyn fmt::Display) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MAX_TEXT_BYTES.saturating_sub(self.0.len());
            self.0.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
            if text.len() > room { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut text = Bounded(String::new());
    // The error is that it is full.
    let _ = fmt::write(&mut text, format_args!("{about}"));
    text.0
}

/// The line that stands for events which found no room.
pub(super) fn dropped(count: u64, time: &str) -> String {
    format!("{}\n", json!({ "time": time, "event": "dropped", "count": count }))
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text)
}

const fn name(door: Door) -> &'static str {
    match door {
        Door::Kafka => "kafka",
        Door::Rest => "rest",
        Door::Grpc => "grpc",
        Door::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{KafkaError, Principal};
    use tidelog_security::TokenChange;

    use super::*;

    #[test]
    fn what_a_request_names_at_length_is_cut() {
        assert_eq!(bounded(&"short"), "short");
        let long: Vec<String> = (0..100_000).map(|n| format!("é{n}")).collect();
        let shown = bounded(&long.join(", "));
        assert!((MAX_TEXT_BYTES - 1..=MAX_TEXT_BYTES).contains(&shown.len()), "{}", shown.len());
    }

    #[test]
    fn tokens_are_told_by_their_ids() {
        let read = |line: String| serde_json::from_str::<Value>(&line).unwrap();
        let alice = Principal::user("alice");
        let line = |event: &AuditEvent<'_>| stamped(&body(event), "now", 1);
        let login = AuditEvent::Authentication {
            principal: Some(&alice),
            claimed: Some("an id"),
            mechanism: "SCRAM-SHA-256",
            token_id: Some("an id"),
            host: [127, 0, 0, 1].into(),
            door: Door::Kafka,
            reason: None,
        };
        let expected = json!({
            "time": "now", "event": "authentication", "principal": "User:alice", "claimed": "an id", "mechanism": "SCRAM-SHA-256",
            "token_id": "an id", "host": "127.0.0.1", "door": "kafka", "success": true, "reason": null,
        });
        assert_eq!(read(line(&login)), expected);
        let caller = Caller { door: Door::Kafka, ..Caller::internal("test") };
        let of = |refused, id| AuditEvent::DelegationToken {
            caller: &caller,
            change: TokenChange::Renew,
            id,
            owner: id.map(|_| &alice),
            about: None,
            refused,
        };
        let renewed = json!({
            "time": "now", "event": "delegation_token", "principal": "User:tidelog", "host": "127.0.0.1",
            "client_id": "test", "door": "kafka", "operation": "RENEW", "token_id": "an id", "owner": "User:alice",
            "about": null, "success": true, "reason": null,
        });
        assert_eq!(read(line(&of(None, Some("an id")))), renewed);
        let refused = read(line(&of(Some(KafkaError::DelegationTokenNotFound), None)));
        assert_eq!((&refused["success"], &refused["token_id"]), (&json!(false), &Value::Null));
        assert_eq!(refused["reason"], "DELEGATION_TOKEN_NOT_FOUND");
    }
}
