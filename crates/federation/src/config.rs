//! The file of `--sts-config`: which issuers there are and where their documents are read here, and what each cloud was told.
//!
//! The whole file is read and judged at once, so that a start with a wrong line stops: fields that nobody knows are refused, and
//! what is wrong is told with its line and column.

use std::collections::HashSet;

use serde::Deserialize;
use tokensmith_api::yaml::{self, ConfigError, Placed};

use crate::cloud::Cloud;
use crate::issuers::config::{Issuer, RawIssuer};
use crate::{aws, azure, gcp};

/// What the services are to know.
#[derive(Clone, Debug)]
pub struct StsConfig {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) aws: Option<aws::Config>,
    pub(crate) azure: Option<azure::Config>,
    pub(crate) gcp: Option<gcp::Config>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    issuers: Vec<Placed<RawIssuer>>,
    aws: Option<aws::RawConfig>,
    azure: Option<azure::RawConfig>,
    gcp: Option<gcp::RawConfig>,
}

impl StsConfig {
    /// Reads the file. Each of the clouds must have its part there; those of others are judged as well.
    ///
    /// # Errors
    /// It is not what it should be; says where.
    pub fn parse(text: &[u8], clouds: &[Cloud]) -> Result<Self, ConfigError> {
        let raw: Placed<RawConfig> = yaml::config(text)?;
        let there = |cloud: &Cloud| match cloud {
            Cloud::Aws => raw.value.aws.is_some(),
            Cloud::Azure => raw.value.azure.is_some(),
            Cloud::Gcp => raw.value.gcp.is_some(),
        };
        if let Some(missing) = clouds.iter().find(|cloud| !there(cloud)) {
            return Err(raw.refuse(format!("there is no `{missing}:`, which --sts asks for:")));
        }
        let RawConfig { issuers, aws, azure, gcp } = raw.value;
        let issuers = Issuer::all(issuers)?;
        let known: HashSet<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        let aws = aws.map(|raw| aws::Config::new(raw, &known)).transpose()?;
        let azure = azure.map(|raw| azure::Config::new(raw, &known)).transpose()?;
        let gcp = gcp.map(|raw| gcp::Config::new(raw, &known)).transpose()?;
        Ok(StsConfig { issuers, aws, azure, gcp })
    }
}
