//! Kubeconfig files (`client-go/tools/clientcmd/api/v1`): the part that tokensmith reads and writes.

mod load;
mod model;

pub use load::{find, load, merge};
pub use model::{
    Cluster, Context, Extension, Kubeconfig, Named, NamedCluster, NamedContext, NamedUser, User,
};
