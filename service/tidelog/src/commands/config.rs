//! `tidelog config`: what `tidelog serve` would run with, from the same sources by the same code; starts nothing.

use anyhow::{Result, anyhow};
use clap::{Args, CommandFactory, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use tidelog_metadata::ConfigDef;
use tidelog_metadata::broker_config::{settable, settable_of_listeners};
use tidelog_metadata::config::nearest;
use tidelog_metadata::topic_config::TOPIC_CONFIGS;

use crate::cli::{Cli, Format, OutputArgs};
use crate::output::{Table, Usage, note, show};
use crate::serve::args::ServeArgs;
use crate::serve::origin::{Problem, Problems};
use crate::serve::resolve::{Effective, Shown, resolve};
use crate::serve::settings::{ALL, Setting};
use crate::serve::verify::verify;

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check file, environment and flags as `serve` would; exits with 1 if it would refuse them. Reads certificates and keys, and opens
    /// nothing else: not the data directory, no port, no object store.
    Check(CheckArgs),
    /// Print every setting as `serve` would have it.
    Show(ShowArgs),
    /// Print every key of the server, its topics included: what it means, its default, where it is set.
    Reference(ReferenceArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    serve: Box<ServeArgs>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Say where each value comes from: default, file and line, variable, flag.
    #[arg(long)]
    origin: bool,
    /// Only settings whose keys begin so, such as kafka or broker.log.
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    serve: Box<ServeArgs>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ReferenceArgs {
    /// Only keys that begin so, such as kafka, broker.log or retention.
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(args: ConfigArgs) -> Result<()> {
    match args.command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Show(args) => show_all(args),
        ConfigCommand::Reference(args) => reference(&args),
    }
}

fn check(args: CheckArgs) -> Result<()> {
    let resolution = resolve(*args.serve)?;
    let (mut warnings, refused) = verify(&resolution.config);
    warnings
        .extend(misspelt(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()), &resolution.effective));
    let problems = Problems(resolution.problems.into_iter().chain(refused).collect());
    if args.output.output == Format::Json {
        let errors: Vec<Value> = problems.0.iter().map(problem_json).collect();
        let answer = json!({ "ok": problems.0.is_empty(), "errors": errors, "warnings": warnings });
        show(Format::Json, &answer, String::new)?;
    } else {
        warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
        if problems.0.is_empty() {
            show(Format::Table, &(), || "the configuration is usable\n".into())?;
        }
    }
    // Whatever a start would exit with.
    if problems.0.is_empty() { Ok(()) } else { Err(anyhow!("{problems}")) }
}

fn problem_json(problem: &Problem) -> Value {
    let (source, at) = problem.origin.as_ref().map_or((Value::Null, Value::Null), |origin| {
        let (source, at) = origin.json();
        (json!(source), at)
    });
    json!({ "source": source, "at": at, "message": problem.message })
}

/// How the names of our variables begin.
const PREFIX: &str = "TIDELOG_";

/// Variables that nobody reads and that look like one that is read.
fn misspelt(set: impl Iterator<Item = String>, effective: &[Effective]) -> Vec<String> {
    let mut known = Vec::new();
    variables(&Cli::command(), &mut known);
    // The variable that a setting names is the operator's own.
    let named = |name: &str| effective.iter().any(|e| matches!(&e.value, Some(Shown::Text(text)) if text == name));
    let mut unread: Vec<String> = set.filter(|name| name.starts_with(PREFIX)).collect();
    unread.retain(|name| !known.iter().any(|known| known == name) && !named(name));
    unread.sort_unstable();
    // What all have in common makes none alike.
    let own: Vec<&str> = known.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
    let told = unread.iter().filter_map(|name| {
        let near = nearest(name.strip_prefix(PREFIX)?, own.iter().copied())?;
        Some(format!("{name} is set, but nothing reads it; did you mean {PREFIX}{near}?"))
    });
    told.collect()
}

fn variables(command: &clap::Command, into: &mut Vec<String>) {
    into.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
    // What `token` reads by default belongs to nobody's flag.
    into.push("TIDELOG_JWT_SECRET".into());
    into.extend(["TIDELOG_PASSWORD", "TIDELOG_NEW_PASSWORD"].map(String::from));
    command.get_subcommands().for_each(|command| variables(command, into));
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    value: &'a Option<Shown>,
    source: &'static str,
    at: Value,
}

fn show_all(args: ShowArgs) -> Result<()> {
    let resolution = resolve(*args.serve)?;
    let mut effective = resolution.effective.clone();
    resolution.valid()?;
    effective.retain(|setting| begins(&setting.key, args.prefix.as_deref()));
    if effective.is_empty() {
        return Err(nothing_begins(args.prefix.as_deref()));
    }
    let row = |setting: &Effective| {
        let (source, at) = setting.origin.json();
        json!(Row { key: &setting.key, value: &setting.value, source, at })
    };
    show(args.output.output, &effective.iter().map(row).collect::<Vec<_>>(), || {
        let head = ["SETTING", "VALUE", "ORIGIN"];
        let mut table = Table::new(head.into_iter().take(if args.origin { 3 } else { 2 }));
        for setting in &effective {
            let origin = if args.origin { setting.origin.to_string() } else { String::new() };
            table.row([setting.key.clone(), value_cell(setting), origin]);
        }
        table.render()
    })
}

/// `prefix` may leave out the table that holds Kafka's settings.
fn begins(key: &str, prefix: Option<&str>) -> bool {
    prefix.is_none_or(|prefix| {
        key.starts_with(prefix) || key.strip_prefix("broker.").is_some_and(|name| name.starts_with(prefix))
    })
}

fn nothing_begins(prefix: Option<&str>) -> anyhow::Error {
    Usage(format!("no setting begins with {}", prefix.unwrap_or_default())).into()
}

fn value_cell(setting: &Effective) -> String {
    match &setting.value {
        Some(Shown::Text(text)) => text.clone(),
        Some(Shown::List(items)) => items.join(","),
        None => format!("({})", setting.otherwise),
    }
}

/// One key of the reference.
#[derive(Serialize)]
struct Key {
    /// `server`, `broker`, `listener` or `topic`.
    of: &'static str,
    key: String,
    doc: String,
    #[serde(rename = "type")]
    kind: String,
    default: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    otherwise: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<&'static str>,
    /// May it change while the server runs?
    dynamic: bool,
}

impl From<&Setting> for Key {
    fn from(setting: &Setting) -> Self {
        Key {
            of: "server",
            key: setting.key.to_owned(),
            doc: format!("{}.", setting.doc),
            kind: setting.value_name.to_owned(),
            default: setting.default,
            otherwise: setting.default.is_none().then_some(setting.otherwise),
            flag: Some(setting.flag),
            env: Some(setting.env),
            dynamic: false,
        }
    }
}

impl Key {
    fn of(of: &'static str, key: String, def: &ConfigDef) -> Self {
        Key {
            of,
            key,
            doc: def.documentation(),
            kind: def.kind.name().to_ascii_lowercase(),
            // Where a listener has none of its own, it has the broker's.
            default: if of == "listener" { None } else { def.default },
            otherwise: (of == "listener").then_some("that of all listeners"),
            flag: None,
            env: None,
            // Every topic's setting may change while it is used.
            dynamic: def.dynamic || of == "topic",
        }
    }

    fn render(&self) -> String {
        let default = match (self.default, self.otherwise) {
            (Some(""), _) => "empty".to_owned(),
            (Some(default), _) => default.to_owned(),
            (None, otherwise) => otherwise.unwrap_or("not set").to_owned(),
        };
        let mut facts = vec![format!("type {}", self.kind), format!("default: {default}")];
        facts.extend(self.flag.map(|flag| format!("--{flag}")));
        facts.extend(self.env.map(str::to_owned));
        if matches!(self.of, "broker" | "listener") && self.dynamic {
            facts.push("may change while the broker runs".into());
        }
        format!("{}\n    {}\n    [{}]\n", self.key, self.doc, facts.join("; "))
    }
}

fn keys() -> Vec<Key> {
    let broker = settable().map(|def| Key::of("broker", format!("broker.{}", def.name), def));
    let listener =
        settable_of_listeners().map(|def| Key::of("listener", format!("listener.name.<name>.{}", def.name), def));
    let topic = TOPIC_CONFIGS.iter().map(|def| Key::of("topic", def.name.to_owned(), def));
    ALL.iter().map(Key::from).chain(broker).chain(listener).chain(topic).collect()
}

/// Whose keys, under which heading.
const PARTS: &[(&str, &str)] = &[
    ("server", "SETTINGS OF THE SERVER: file, variable or flag"),
    ("broker", "KAFKA'S SETTINGS OF THE BROKER: [broker] in the file, or --set"),
    (
        "listener",
        "KAFKA'S SETTINGS OF ONE LISTENER, its name in small letters: tidelog broker config N --set while the server runs",
    ),
    ("topic", "SETTINGS OF A TOPIC: tidelog topic create|config"),
];

fn reference(args: &ReferenceArgs) -> Result<()> {
    let mut keys = keys();
    keys.retain(|key| begins(&key.key, args.prefix.as_deref()));
    if keys.is_empty() {
        return Err(nothing_begins(args.prefix.as_deref()));
    }
    show(args.output.output, &keys, || {
        let part = |(of, title): &(&str, &str)| {
            let keys: Vec<String> = keys.iter().filter(|key| key.of == *of).map(Key::render).collect();
            (!keys.is_empty()).then(|| format!("{title}\n\n{}", keys.join("\n")))
        };
        PARTS.iter().filter_map(part).collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::origin::Origin;

    #[test]
    fn misspelt_variables_are_told_and_others_are_nobodys_business() {
        let set =
            ["TIDELOG_KAFKA_LISTN", "TIDELOG_BROKERS", "TIDELOG_JWT_SECRET", "TIDELOG_ZZZ", "PATH", "TIDELOG_LOGS"];
        let named = Effective {
            key: "auth.jwt.secret_env".into(),
            value: Some(Shown::Text("TIDELOG_LOGS".into())),
            otherwise: "none",
            origin: Origin::Default,
        };
        let told = misspelt(set.iter().map(ToString::to_string), &[named]);
        assert_eq!(told, ["TIDELOG_KAFKA_LISTN is set, but nothing reads it; did you mean TIDELOG_KAFKA_LISTEN?"]);
    }

    #[test]
    fn keys_are_found_by_how_they_begin() {
        for (prefix, key, fits) in [
            (None, "kafka.listen", true),
            (Some("kafka"), "kafka.listen", true),
            (Some("broker.num"), "broker.num.partitions", true),
            (Some("num"), "broker.num.partitions", true),
            (Some("listen"), "kafka.listen", false),
        ] {
            assert_eq!(begins(key, prefix), fits, "{prefix:?} {key}");
        }
    }

    #[test]
    fn every_key_of_the_reference_says_what_it_is() {
        let keys = keys();
        for key in &keys {
            assert!(!key.doc.is_empty() && !key.kind.is_empty(), "{}", key.key);
            assert_eq!(
                keys.iter().filter(|other| (other.of, &other.key) == (key.of, &key.key)).count(),
                1,
                "{}",
                key.key
            );
        }
        let text = keys.iter().map(Key::render).collect::<String>();
        assert!(
            text.contains(
                "[type [NAME=][PROTOCOL://]ADDRESS:PORT; default: 127.0.0.1:9092; --kafka-listen; TIDELOG_KAFKA_LISTEN]"
            ),
            "{text}"
        );
    }
}
