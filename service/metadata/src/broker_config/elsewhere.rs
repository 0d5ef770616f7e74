//! Settings of Kafka's brokers whose part is played by something else here, or by nothing that could be left out in silence: TLS, authentication,
//! the other nodes, plug-ins. They are shown with Kafka's type and default, as tools expect them, and can be set nowhere: who sets one is
//! told what to do instead.

use crate::config::{Check, ConfigDef, ConfigType};

/// What settings of one kind are about.
struct Group(&'static str);

impl Group {
    const fn of(&self, name: &'static str, kind: ConfigType, default: &'static str) -> ConfigDef {
        ConfigDef::new(name, kind, default, Check::Any, self.0)
    }

    const fn int(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Int, default)
    }

    const fn short(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Short, default)
    }

    const fn long(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Long, default)
    }

    const fn double(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Double, default)
    }

    const fn boolean(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Boolean, default)
    }

    const fn text(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::String, default)
    }

    const fn list(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::List, default)
    }

    const fn class(&self, name: &'static str, default: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Class, default)
    }

    const fn password(&self, name: &'static str) -> ConfigDef {
        self.of(name, ConfigType::Password, "").unset()
    }
}

const TLS: Group = Group(
    "About TLS, which is set under [tls] and [kafka.tls] here, and for one listener while the server runs; shown is Kafka's default.",
);
const AUTHENTICATION: Group =
    Group("About authentication, which is set under [kafka] and [auth] here; shown is Kafka's default.");
const CLUSTER: Group = Group("About the other nodes of a cluster: there is one node. Shown is Kafka's default.");
const DIRECTORIES: Group = Group("About directories: here everything lies in data_dir. Shown is Kafka's default.");
const STORE: Group = Group("About tiered storage, which is set under [store] here; shown is Kafka's default.");
const PLUGINS: Group = Group("About plug-ins in Java: there are none. Shown is Kafka's default.");

/// Every one of them, by groups.
pub static ELSEWHERE: &[ConfigDef] = &[
    TLS.list("ssl.cipher.suites", ""),
    TLS.text("ssl.client.auth", "none"),
    TLS.list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3"),
    TLS.text("ssl.endpoint.identification.algorithm", "https"),
    TLS.class("ssl.engine.factory.class", "").unset(),
    TLS.password("ssl.key.password"),
    TLS.text("ssl.keymanager.algorithm", "SunX509"),
    TLS.password("ssl.keystore.certificate.chain"),
    TLS.password("ssl.keystore.key"),
    TLS.text("ssl.keystore.location", "").unset(),
    TLS.password("ssl.keystore.password"),
    TLS.text("ssl.keystore.type", "JKS"),
    TLS.text("ssl.principal.mapping.rules", "DEFAULT"),
    TLS.text("ssl.protocol", "TLSv1.3"),
    TLS.text("ssl.provider", "").unset(),
    TLS.text("ssl.secure.random.implementation", "").unset(),
    TLS.text("ssl.trustmanager.algorithm", "PKIX"),
    TLS.password("ssl.truststore.certificates"),
    TLS.text("ssl.truststore.location", "").unset(),
    TLS.password("ssl.truststore.password"),
    TLS.text("ssl.truststore.type", "JKS"),
    AUTHENTICATION.int("connection.failed.authentication.delay.ms", "100"),
    AUTHENTICATION.class(
        "principal.builder.class",
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
    ),
    AUTHENTICATION.class("sasl.client.callback.handler.class", "").unset(),
    AUTHENTICATION.password("sasl.jaas.config"),
    AUTHENTICATION.text("sasl.kerberos.kinit.cmd", "/usr/bin/kinit"),
    AUTHENTICATION.long("sasl.kerberos.min.time.before.relogin", "60000"),
    AUTHENTICATION.list("sasl.kerberos.principal.to.local.rules", "DEFAULT"),
    AUTHENTICATION.text("sasl.kerberos.service.name", "").unset(),
    AUTHENTICATION.double("sasl.kerberos.ticket.renew.jitter", "0.05"),
    AUTHENTICATION.double("sasl.kerberos.ticket.renew.window.factor", "0.8"),
    AUTHENTICATION.class("sasl.login.callback.handler.class", "").unset(),
    AUTHENTICATION.class("sasl.login.class", "").unset(),
    AUTHENTICATION.int("sasl.login.connect.timeout.ms", "").unset(),
    AUTHENTICATION.int("sasl.login.read.timeout.ms", "").unset(),
    AUTHENTICATION.short("sasl.login.refresh.buffer.seconds", "300"),
    AUTHENTICATION.short("sasl.login.refresh.min.period.seconds", "60"),
    AUTHENTICATION.double("sasl.login.refresh.window.factor", "0.8"),
    AUTHENTICATION.double("sasl.login.refresh.window.jitter", "0.05"),
    AUTHENTICATION.long("sasl.login.retry.backoff.max.ms", "10000"),
    AUTHENTICATION.long("sasl.login.retry.backoff.ms", "100"),
    AUTHENTICATION.text("sasl.mechanism.controller.protocol", "GSSAPI"),
    AUTHENTICATION.text("sasl.mechanism.inter.broker.protocol", "GSSAPI"),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.algorithm", "RS256"),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.claim.aud", "").unset(),
    AUTHENTICATION.int("sasl.oauthbearer.assertion.claim.exp.seconds", "300"),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.claim.iss", "").unset(),
    AUTHENTICATION.boolean("sasl.oauthbearer.assertion.claim.jti.include", "false"),
    AUTHENTICATION.int("sasl.oauthbearer.assertion.claim.nbf.seconds", "60"),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.claim.sub", "").unset(),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.file", "").unset(),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.private.key.file", "").unset(),
    AUTHENTICATION.password("sasl.oauthbearer.assertion.private.key.passphrase"),
    AUTHENTICATION.text("sasl.oauthbearer.assertion.template.file", "").unset(),
    AUTHENTICATION.text("sasl.oauthbearer.client.credentials.client.id", "").unset(),
    AUTHENTICATION.password("sasl.oauthbearer.client.credentials.client.secret"),
    AUTHENTICATION.int("sasl.oauthbearer.clock.skew.seconds", "30"),
    AUTHENTICATION.list("sasl.oauthbearer.expected.audience", ""),
    AUTHENTICATION.text("sasl.oauthbearer.expected.issuer", "").unset(),
    AUTHENTICATION.long("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000"),
    AUTHENTICATION.long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "10000"),
    AUTHENTICATION.long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100"),
    AUTHENTICATION.text("sasl.oauthbearer.jwks.endpoint.url", "").unset(),
    AUTHENTICATION.class(
        "sasl.oauthbearer.jwt.retriever.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    ),
    AUTHENTICATION.class(
        "sasl.oauthbearer.jwt.validator.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    ),
    AUTHENTICATION.text("sasl.oauthbearer.scope", "").unset(),
    AUTHENTICATION.text("sasl.oauthbearer.scope.claim.name", "scope"),
    AUTHENTICATION.text("sasl.oauthbearer.sub.claim.name", "sub"),
    AUTHENTICATION.text("sasl.oauthbearer.token.endpoint.url", "").unset(),
    AUTHENTICATION.class("sasl.server.callback.handler.class", "").unset(),
    AUTHENTICATION.int("sasl.server.max.receive.size", "524288"),
    AUTHENTICATION.text("security.providers", "").unset(),
    CLUSTER.list("controller.listener.names", "").unset(),
    CLUSTER.boolean("controller.quorum.auto.join.enable", "false"),
    CLUSTER.list("controller.quorum.bootstrap.servers", ""),
    CLUSTER.list("controller.quorum.voters", ""),
    CLUSTER.list("early.start.listeners", "").unset(),
    CLUSTER.text("security.inter.broker.protocol", "PLAINTEXT"),
    DIRECTORIES.text("metadata.log.dir", "").unset(),
    STORE.int("remote.log.metadata.custom.metadata.max.bytes", "128"),
    STORE.text(
        "remote.log.metadata.manager.class.name",
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
    ),
    STORE.text("remote.log.metadata.manager.class.path", "").unset(),
    STORE.text("remote.log.metadata.manager.impl.prefix", "rlmm.config."),
    STORE.text("remote.log.metadata.manager.listener.name", "").unset(),
    STORE.text("remote.log.storage.manager.class.name", "").unset(),
    STORE.text("remote.log.storage.manager.class.path", "").unset(),
    STORE.text("remote.log.storage.manager.impl.prefix", "rsm.config."),
    PLUGINS.class("alter.config.policy.class.name", "").unset(),
    PLUGINS.class("client.quota.callback.class", "").unset(),
    PLUGINS.list("config.providers", ""),
    PLUGINS.class("create.topic.policy.class.name", "").unset(),
];
