//! tokensmith: a Kubernetes service-account token issuer.
fn main() {}
