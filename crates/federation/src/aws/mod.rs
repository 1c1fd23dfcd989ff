//! AWS's security token service: the query API of version 2011-06-15.

mod arn;
mod config;
mod policy;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::answer;
use crate::cloud::{Cloud, Means, Service};

pub(crate) use config::{Config, RawConfig};

/// The service.
pub(crate) struct Aws {}

impl Aws {
    pub(crate) fn new(_: Config, _: Means) -> Self {
        Aws {}
    }
}

#[async_trait]
impl Service for Aws {
    fn cloud(&self) -> Cloud {
        Cloud::Aws
    }

    fn owns(&self, _: &str) -> bool {
        false
    }

    async fn answer(&self, _: Request<Bytes>) -> Response<Bytes> {
        answer::text(StatusCode::NOT_FOUND, "not found\n")
    }
}
