//! The house rules that a machine can check.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod edges;
mod memory;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use edges::{EDGES, IMPURE, PURE};
use settings::{CASES, TABLES};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/tidy lies two below the root").to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata")
}

fn short(name: &str) -> &str {
    name.strip_prefix("tidelog-").unwrap_or(name)
}

/// Everything that `start` links in the product: normal dependencies only, transitively.
fn product_tree(metadata: &Metadata, start: &str) -> BTreeMap<String, BTreeSet<String>> {
    let resolve = metadata.resolve.as_ref().expect("resolved graph");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|n| (&n.id, n)).collect();
    let packages: BTreeMap<&PackageId, _> = metadata.packages.iter().map(|p| (&p.id, p)).collect();
    let first = metadata.packages.iter().find(|p| p.name.as_str() == start).expect("package");
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    let mut queue = VecDeque::from([&first.id]);
    while let Some(id) = queue.pop_front() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in &nodes[id].deps {
            if dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                queue.push_back(&dependency.pkg);
            }
        }
    }
    let mut tree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in seen {
        let package = packages[id];
        tree.entry(package.name.to_string()).or_default().insert(package.version.to_string());
    }
    tree
}

#[test]
fn dependencies_point_downwards_only() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for package in metadata.workspace_packages() {
        let name = short(&package.name);
        let directory = package.manifest_path.strip_prefix(root()).expect("inside the workspace");
        if directory.starts_with("tests") || name == "tidelog" {
            continue;
        }
        let Some(edges) = allowed.get(name) else { panic!("crate {name} is missing from tests/tidy/edges.rs") };
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let Some(target) = dependency.name.strip_prefix("tidelog-") else { continue };
            assert!(edges.contains(&target), "{name} names {target}: not an edge of tests/tidy/edges.rs");
        }
    }
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let metadata = metadata();
    for name in PURE {
        let tree = product_tree(&metadata, &format!("tidelog-{name}"));
        for impure in IMPURE {
            assert!(!tree.contains_key(*impure), "pure crate {name} reaches {impure}");
        }
    }
}

#[test]
fn pure_crates_share_one_list_of_forbidden_calls() {
    let first = std::fs::read_to_string(root().join("service/model/clippy.toml")).expect("clippy.toml");
    for name in PURE {
        let own = std::fs::read_to_string(root().join(format!("service/{name}/clippy.toml"))).expect(name);
        assert_eq!(own, first, "service/{name}/clippy.toml differs from service/model/clippy.toml");
    }
}

#[test]
fn product_links_no_openssl_no_aws_lc_no_rdkafka_and_one_of_each_of_the_knot() {
    let tree = product_tree(&metadata(), "tidelog");
    for forbidden in
        ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "rdkafka", "rdkafka-sys", "kafka-protocol"]
    {
        assert!(!tree.contains_key(forbidden), "the product links {forbidden}");
    }
    for single in ["arrow", "arrow-schema", "parquet", "object_store", "tokio", "tonic", "prost", "axum", "rustls"] {
        if let Some(versions) = tree.get(single) {
            assert_eq!(versions.len(), 1, "the product links {single} more than once: {versions:?}");
        }
    }
}

#[test]
fn workspace_has_one_binary_and_no_default_members() {
    let metadata = metadata();
    let bins: Vec<_> = metadata
        .workspace_packages()
        .iter()
        .flat_map(|p| p.targets.iter().filter(|t| t.is_bin()).map(|t| t.name.clone()))
        .collect();
    assert_eq!(bins, ["tidelog"], "`cargo run` and CARGO_BIN_EXE_tidelog rely on exactly one binary");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("manifest");
    assert!(!manifest.contains("default-members"), "default-members would make two commands build different things");
}

/// Otherwise `cargo test` after `cargo run` compiles that crate, and all that stands on it, a second time.
#[test]
fn tests_add_no_feature_to_what_the_product_links() {
    let metadata = metadata();
    let product = product_tree(&metadata, "tidelog");
    let of_kind = |kind| {
        let all = metadata.workspace_packages().into_iter().flat_map(|package| &package.dependencies);
        all.filter(move |dependency| dependency.kind == kind && dependency.path.is_none())
    };
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for dependency in of_kind(DependencyKind::Normal) {
        wanted.entry(&dependency.name).or_default().extend(dependency.features.iter().map(String::as_str));
    }
    for dependency in of_kind(DependencyKind::Development).filter(|d| product.contains_key(d.name.as_str())) {
        for feature in &dependency.features {
            let there =
                wanted.get(dependency.name.as_str()).is_some_and(|features| features.contains(feature.as_str()));
            assert!(there, "a dev-dependency adds {feature} to {}", dependency.name);
        }
    }
}

#[test]
fn every_dependency_is_declared_once_in_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("manifest");
        let mut inside = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
                continue;
            }
            if inside && line.contains('=') && !line.trim_start().starts_with('#') {
                assert!(line.contains("workspace = true"), "{}: {line:?} has a version of its own", package.name);
            }
        }
    }
}

/// Files under version control, or all of them where there is none.
fn tracked_files() -> Vec<PathBuf> {
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Ok(listed) = listed else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout).split('\0').filter(|p| !p.is_empty()).map(|p| root().join(p)).collect()
}

#[test]
fn rust_files_stay_readable() {
    // A norm, not a law: a file this long needs a table of contents, and then it is two files.
    const MOST_LINES: usize = 800;
    for path in tracked_files().into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines, at most {MOST_LINES}", path.display());
    }
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let forbidden = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    for path in tracked_files() {
        let is_text = path.extension().is_some_and(|e| {
            ["rs", "md", "toml", "yml", "yaml", "sh", "py", "json", "proto", "tf", "js", "go", "java"]
                .iter()
                .any(|t| e == *t)
        });
        if !is_text || path.starts_with(root().join("tests/data")) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for word in forbidden {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

/// The names that a table of settings declares: the first text of each `ConfigDef::…(`, or the constant that stands for it.
fn declared_settings(table: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(table)).expect(table);
    let constants: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.split_once(": &str = \""))
        .map(|(name, value)| (name, value.trim_end_matches("\";")))
        .collect();
    let declaration = |after: &str| {
        let first = after.split_once('(')?.1.trim_start().split([',', ')']).next()?.trim().to_owned();
        let name = first.strip_prefix('"').map_or_else(
            || constants.get(first.as_str()).map(|name| (*name).to_owned()),
            |name| Some(name.trim_end_matches('"').to_owned()),
        );
        Some(name.unwrap_or_else(|| panic!("{table}: {first} is no name of a setting")))
    };
    text.split("\n    ConfigDef::").skip(1).filter_map(declaration).collect()
}

#[test]
fn every_setting_has_a_test_that_is_there() {
    let mut proved = BTreeSet::new();
    for (file, test, settings) in CASES {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = text.split_once(&format!("fn {test}()")).unwrap_or_else(|| panic!("{file} has no {test}"));
        let before = found.0.trim_end().trim_end_matches("async").trim_end();
        let attributes: Vec<&str> =
            before.lines().rev().take_while(|line| line.trim_start().starts_with("#[")).collect();
        assert!(attributes.iter().any(|attribute| attribute.contains("test")), "{file}: {test} is no test");
        // One that is set aside proves nothing.
        assert!(!attributes.iter().any(|attribute| attribute.contains("ignore")), "{file}: {test} is ignored");
        for setting in *settings {
            assert!(text.contains(setting), "{file} does not name {setting}");
            proved.insert(*setting);
        }
    }
    for table in TABLES {
        let declared = declared_settings(table);
        assert!(declared.len() > 2, "{table}: {declared:?}");
        for name in declared {
            assert!(
                proved.contains(name.as_str()),
                "{table}: no test proves {name}; name one in tests/tidy/settings.rs"
            );
        }
    }
}
