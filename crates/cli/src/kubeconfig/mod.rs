//! Kubeconfig files (`client-go/tools/clientcmd/api/v1`): the part that tokensmith reads and writes.

mod load;
mod model;
mod own;

pub use load::{find, load, merge};
pub use model::{Cluster, Kubeconfig, User};
pub use own::{NAME, check_ours, own, write_ours};
