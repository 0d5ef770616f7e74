//! Options of `tidelog demo`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::OutputArgs;

/// Options of `tidelog demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Keep the data in this directory [default: a temporary one, removed at the end]
    #[arg(long, env = "TIDELOG_DEMO_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// End after the last stage instead of staying up until Ctrl-C.
    #[arg(long, env = "TIDELOG_DEMO_EXIT")]
    pub(crate) exit: bool,

    /// Object store to use: file:///DIR or s3://BUCKET/PREFIX [default: a directory in the data directory]
    #[arg(long, env = "TIDELOG_DEMO_OBJECT_STORE", value_name = "URL")]
    pub(crate) object_store: Option<String>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
