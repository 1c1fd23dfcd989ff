//! Kubeconfig files (`client-go/tools/clientcmd/api/v1`): the part that tokensmith reads and writes.

mod load;
mod model;
mod read;

pub use load::{find, load, merge};
pub use model::{
    Cluster, Context, ExecConfig, Extension, Impersonate, Kubeconfig, Named, NamedCluster, NamedContext,
    NamedUser, User,
};
pub use read::{data, parse};
