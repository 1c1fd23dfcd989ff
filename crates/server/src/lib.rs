//! HTTP: gate, router, discovery documents, audit, metrics.
