//! A client of an API server, tokensmith's or Kubernetes' own: which server, with which credentials, and the requests
//! themselves.
//!
//! Knows kubeconfigs, token files and the configuration inside a pod; decides nothing about what is asked for.
