//! `s3://`: AWS S3 and compatible stores. Data goes through `object_store`; the AWS SDK brings credentials and looks at the bucket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use object_store::aws::{AmazonS3Builder, AwsCredential, Checksum, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig};

use crate::error::chain;
use crate::open::away_if_known;
use crate::{Credentials, ObjectsError, StoreOptions, without_password};

/// AWS's own default where nothing names a region.
const DEFAULT_REGION: &str = "us-east-1";

/// Credentials of the AWS chain for `object_store`; the chain caches them and renews them before they expire.
#[derive(Debug)]
struct Chain(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await.map_err(|error| object_store::Error::Unauthenticated {
            path: "credentials".to_owned(),
            source: Box::new(error),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}

pub(crate) async fn open(
    url: &str,
    bucket: &str,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>, ObjectsError> {
    let config = load(options).await;
    let region = config.region().map_or(DEFAULT_REGION, Region::as_ref).to_owned();
    let path_style = options.path_style.unwrap_or(options.endpoint.is_some());
    away_if_known(check_bucket(url, bucket, &config, &region, path_style, options).await, options)?;
    let provider = config
        .credentials_provider()
        .ok_or_else(|| ObjectsError::Denied(format!("{url}: the AWS chain found no credentials")))?;
    let timeout = options.limits.part_timeout;
    let client = ClientOptions::new()
        .with_timeout(timeout)
        .with_connect_timeout(Duration::from_secs(5))
        .with_allow_http(options.allow_http);
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: options.limits.backoff, max_backoff: Duration::from_secs(2), base: 2.0 },
        max_retries: options.limits.attempts as usize,
        retry_timeout: options.limits.request_timeout,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_credentials(Arc::new(Chain(provider)))
        .with_virtual_hosted_style_request(!path_style)
        .with_allow_http(options.allow_http)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client)
        .with_retry(retry);
    if options.checksum {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder.build().map_err(|e| ObjectsError::Unusable(format!("{url}: {}", chain(&e))))?;
    Ok(Arc::new(store))
}

async fn load(options: &StoreOptions) -> SdkConfig {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    // The SDK's default client would bring aws-lc, a second crypto library with a C build.
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Credentials::Static { access_key_id, secret_access_key } = &options.credentials {
        let fixed = aws_credential_types::Credentials::new(access_key_id, secret_access_key, None, None, "tidelog");
        loader = loader.credentials_provider(fixed);
        if options.region.is_none() {
            // Fixed keys need nothing else from the chain; without this the instance metadata is asked for a region.
            loader = loader.region(Region::new(DEFAULT_REGION));
        }
    }
    loader.load().await
}

/// Refuses a bucket that is not there with what to do about it; creates it only if an option says so.
async fn check_bucket(
    url: &str,
    bucket: &str,
    config: &SdkConfig,
    region: &str,
    path_style: bool,
    options: &StoreOptions,
) -> Result<(), ObjectsError> {
    let timeouts = aws_config::timeout::TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_timeout(options.limits.request_timeout)
        .build();
    let mut builder = aws_sdk_s3::config::Builder::from(config)
        .force_path_style(path_style)
        .region(Region::new(region.to_owned()))
        .timeout_config(timeouts);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let client = aws_sdk_s3::Client::from_conf(builder.build());
    let error = match client.head_bucket().bucket(bucket).send().await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    match error.raw_response().map(|r| r.status().as_u16()) {
        Some(404) if options.create_bucket => create_bucket(url, bucket, &client, region).await,
        Some(404) => Err(ObjectsError::Unusable(format!(
            "{url}: bucket `{bucket}` does not exist; create it (for instance `aws s3 mb s3://{bucket}`) or correct the URL"
        ))),
        Some(status @ (401 | 403)) => Err(ObjectsError::Denied(format!(
            "{url}: access to bucket `{bucket}` was denied (HTTP {status}); check the credentials, and that they may list the bucket"
        ))),
        Some(status @ (301 | 307)) => Err(ObjectsError::Unusable(format!(
            "{url}: bucket `{bucket}` lives in another region than {region} (HTTP {status}); set the store's region (`--s3-region`)"
        ))),
        Some(400) => Err(ObjectsError::Unusable(format!(
            "{url}: the store refused to look at bucket `{bucket}` (HTTP 400); check region and credentials"
        ))),
        Some(status) => {
            let place = place(options.endpoint.as_deref());
            Err(ObjectsError::Unavailable(format!("{place} answered HTTP {status} when asked for bucket `{bucket}`")))
        }
        None => Err(unanswered(options.endpoint.as_deref(), &error)),
    }
}

/// No answer came. Of the SDK's error only the cause at its bottom tells an operator something.
fn unanswered<E>(endpoint: Option<&str>, error: &SdkError<E>) -> ObjectsError
where
    E: std::error::Error + 'static,
{
    if lacks_credentials(error) {
        return ObjectsError::Denied(format!(
            "no credentials for {}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of this machine ({})",
            place(endpoint),
            root(error)
        ));
    }
    let text = format!("cannot ask {}: {}", place(endpoint), root(error));
    match error {
        SdkError::ConstructionFailure(_) => ObjectsError::Denied(text),
        _ => ObjectsError::Unavailable(text),
    }
}

/// Who is asked, as it may be told to everybody.
fn place(endpoint: Option<&str>) -> String {
    endpoint.map_or_else(|| "AWS".to_owned(), without_password)
}

/// Did the chain of credentials end without any?
fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<aws_credential_types::provider::error::CredentialsError>())
}

/// What is behind all the others.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().replace('\n', " ")
}

async fn create_bucket(url: &str, bucket: &str, client: &aws_sdk_s3::Client, region: &str) -> Result<(), ObjectsError> {
    let mut request = client.create_bucket().bucket(bucket);
    if region != DEFAULT_REGION {
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region));
        request = request.create_bucket_configuration(place.build());
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            Some(e) if e.is_bucket_already_owned_by_you() => Ok(()),
            _ => Err(ObjectsError::Unusable(format!("{url}: cannot create the bucket: {}", root(&error)))),
        },
    }
}
