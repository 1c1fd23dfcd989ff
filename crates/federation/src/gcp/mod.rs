//! The service of gcp.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tokensmith_api::yaml::ConfigError;

use crate::answer;
use crate::cloud::{Cloud, Means, Service};

/// The part of the configuration as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawConfig {}

/// What it was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {}

impl Config {
    /// Judges what is written. `issuers` are those whose documents can be read here.
    pub(crate) fn new(_: RawConfig, _: &HashSet<&str>) -> Result<Self, ConfigError> {
        Ok(Config {})
    }
}

/// The service.
pub(crate) struct Gcp {}

impl Gcp {
    pub(crate) fn new(_: Config, _: Means) -> Self {
        Gcp {}
    }
}

#[async_trait]
impl Service for Gcp {
    fn cloud(&self) -> Cloud {
        Cloud::Gcp
    }

    fn owns(&self, _: &str) -> bool {
        false
    }

    async fn answer(&self, _: Request<Bytes>) -> Response<Bytes> {
        answer::text(StatusCode::NOT_FOUND, "not found\n")
    }
}
