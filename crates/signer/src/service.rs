//! The gRPC services: each rpc is one call of [`ExternalSigner`], the same in both versions of the protocol.

use std::sync::Arc;

use tokensmith_core::error::chain;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::protocol::{v1, v1alpha1};
use crate::signer::{ExternalSigner, Refusal};

/// No larger request is read. A token travels in a header, which Go limits to 1 MiB.
pub(crate) const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Both services.
pub(crate) fn routes(signer: Arc<ExternalSigner>) -> Routes {
    use v1::external_jwt_signer_server::ExternalJwtSignerServer as V1;
    use v1alpha1::external_jwt_signer_server::ExternalJwtSignerServer as V1Alpha1;
    let v1 = V1::from_arc(signer.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
    let v1alpha1 = V1Alpha1::from_arc(signer).max_decoding_message_size(MAX_REQUEST_BYTES);
    Routes::new(v1).add_service(v1alpha1).prepare()
}

macro_rules! service {
    ($version:ident) => {
        #[async_trait::async_trait]
        impl $version::external_jwt_signer_server::ExternalJwtSigner for ExternalSigner {
            async fn sign(
                &self,
                request: Request<$version::SignJwtRequest>,
            ) -> Result<Response<$version::SignJwtResponse>, Status> {
                let signed = self.sign(&request.get_ref().claims).await.map_err(status)?;
                let (header, signature) = (signed.header, signed.signature);
                Ok(Response::new($version::SignJwtResponse { header, signature }))
            }

            async fn fetch_keys(
                &self,
                _: Request<$version::FetchKeysRequest>,
            ) -> Result<Response<$version::FetchKeysResponse>, Status> {
                let list = self.keys();
                let key = |key: &Arc<tokensmith_core::keys::PublicKey>| $version::Key {
                    key_id: key.key_id().to_owned(),
                    key: key.spki().to_vec(),
                    exclude_from_oidc_discovery: false,
                };
                Ok(Response::new($version::FetchKeysResponse {
                    keys: list.keys.iter().map(key).collect(),
                    data_timestamp: Some(timestamp(list.since)),
                    refresh_hint_seconds: list.refresh_hint,
                }))
            }

            async fn metadata(
                &self,
                _: Request<$version::MetadataRequest>,
            ) -> Result<Response<$version::MetadataResponse>, Status> {
                let max_token_expiration_seconds = self.max_token_seconds();
                Ok(Response::new($version::MetadataResponse { max_token_expiration_seconds }))
            }
        }
    };
}

service!(v1);
service!(v1alpha1);

fn timestamp(at: time::OffsetDateTime) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.nanosecond()).unwrap_or_default();
    prost_types::Timestamp { seconds: at.unix_timestamp(), nanos }
}

/// What the caller can mend is said; what only the operator can is logged with its cause.
fn status(refusal: Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::Claims(_) | Refusal::Lifetime(_) => Status::invalid_argument(text),
        Refusal::Algorithm(_) => Status::failed_precondition(text),
        Refusal::Reserve(cause) => {
            tracing::error!(cause = %chain(&cause), "cannot sign for the API server");
            Status::unavailable(text)
        }
        Refusal::Sign(cause) => {
            tracing::error!(cause = %chain(&cause), "cannot sign for the API server");
            Status::internal(text)
        }
    }
}
