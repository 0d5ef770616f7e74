//! DescribeConfigs (key 32): topics' and brokers' configuration with its origin (KIP-226); from 3 on with types and
//! documentation (KIP-569).

use crate::Str;
use crate::describe::{api, message, structure};

api!(32, DescribeConfigsRequest => DescribeConfigsResponse);

message! {
    /// What to describe.
    DescribeConfigsRequest, versions(1, 4), flexible(4) {
        /// The resources.
        resources: Vec<DescribeConfigsResource>, since(0);
        /// Answer with the broader settings that a value can come from.
        include_synonyms: bool, since(1);
        /// Answer with documentation.
        include_documentation: bool, since(3);
    }
}

structure! {
    /// One resource.
    DescribeConfigsResource {
        /// 2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
        /// Which entries; null is all.
        configuration_keys: Option<Vec<Str>> = Some(Vec::new()), since(0).null(0);
    }
}

message! {
    /// The configuration.
    DescribeConfigsResponse, versions(1, 4), flexible(4) {
        /// How long the client was throttled, milliseconds.
        throttle_time_ms: i32, since(0);
        /// The results by resource.
        results: Vec<DescribeConfigsResult>, since(0);
    }
}

structure! {
    /// One resource's configuration.
    DescribeConfigsResult {
        /// The error, or 0.
        error_code: i16, since(0);
        /// What was wrong.
        error_message: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// As in the request.
        resource_type: i8, since(0);
        /// Its name.
        resource_name: Str, since(0);
        /// The entries.
        configs: Vec<DescribeConfigsResourceResult>, since(0);
    }
}

structure! {
    /// One entry.
    DescribeConfigsResourceResult {
        /// Its name.
        name: Str, since(0);
        /// Its value; null if it is a secret or unset.
        value: Option<Str> = Some(Str::EMPTY), since(0).null(0);
        /// It cannot be changed.
        read_only: bool, since(0);
        /// 1: topic, 2: broker, 3: all brokers, 4: broker's file, 5: default, 6: broker logger, 7: client metrics,
        /// 8: group; −1: unknown.
        config_source: i8 = -1, since(1).ignorable();
        /// The value is a secret.
        is_sensitive: bool, since(0);
        /// The settings that the value can come from, the narrowest first.
        synonyms: Vec<DescribeConfigsSynonym>, since(1).ignorable();
        /// 1: boolean, 2: string, 3: int, 4: short, 5: long, 6: double, 7: list, 8: class, 9: password.
        config_type: i8, since(3).ignorable();
        /// What the entry means.
        documentation: Option<Str> = Some(Str::EMPTY), since(3).null(3).ignorable();
    }
}

structure! {
    /// A setting that a value can come from.
    DescribeConfigsSynonym {
        /// Its name.
        name: Str, since(1);
        /// Its value.
        value: Option<Str> = Some(Str::EMPTY), since(1).null(0);
        /// As `config_source`.
        source: i8, since(1);
    }
}
