//! Options of `tidelog serve`: a flag and a variable for every setting of the table, and what belongs to no setting.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::origin::Origin;
use super::settings::{ALL, Kind, Setting};

/// Options of `tidelog serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML); environment and flags override it.
    #[arg(short, long, env = "TIDELOG_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) given: Given,

    /// A broker setting under Kafka's name; may be repeated.
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(super) settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// What flags and variables say, setting by setting. Texts only: their values are checked with the file's, so that all that is wrong is
/// said at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(pub(super) Vec<(&'static Setting, Vec<String>, Origin)>);

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        ALL.iter().fold(command, |command, setting| command.arg(arg(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(setting: &'static Setting) -> Arg {
    let repeated = if matches!(setting.kind, Kind::List(_)) { "; may be repeated" } else { "" };
    let arg = Arg::new(setting.key)
        .long(setting.flag)
        .env(setting.env)
        .value_name(setting.value_name)
        .value_parser(ValueParser::string())
        .help(format!("{}{repeated} [default: {}]", setting.doc, setting.unset()));
    match setting.kind {
        Kind::Text | Kind::Integer => arg,
        Kind::Boolean => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List(between) => arg.action(ArgAction::Append).value_delimiter(between),
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = ALL.iter().filter_map(|setting| {
            let origin = match matches.value_source(setting.key)? {
                ValueSource::CommandLine => Origin::Flag(setting.flag),
                ValueSource::EnvVariable => Origin::Environment(setting.env),
                _ => return None,
            };
            let texts = matches.get_many::<String>(setting.key)?.cloned().collect();
            Some((setting, texts, origin))
        });
        Ok(Given(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> Given {
        let command = Given::augment_args(Command::new("serve").no_binary_name(true));
        Given::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
    }

    #[test]
    fn settings_are_pairs() {
        assert_eq!(setting("num.partitions = 3"), Ok(("num.partitions".into(), "3".into())));
        assert!(setting("num.partitions").is_err());
    }

    #[test]
    fn flags_are_texts_of_their_settings() {
        let args = ["--node-id", "x", "--s3-allow-http", "--s3-no-checksum=false", "--jwt-audience", "a,b"];
        let given = given(&[&args[..], &["--jwt-audience", "c"]].concat());
        let said: Vec<_> = given.0.iter().map(|(setting, texts, _)| (setting.key, texts.join(" "))).collect();
        let expected = [
            ("node_id", "x"),
            ("store.allow_http", "true"),
            ("store.no_checksum", "false"),
            ("auth.jwt.audience", "a b c"),
        ];
        assert_eq!(said, expected.map(|(key, texts)| (key, texts.to_owned())));
        assert_eq!(given.0[0].2, Origin::Flag("node-id"));
    }
}
