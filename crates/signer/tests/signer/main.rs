//! The signer through its socket, asked as a kube-apiserver asks it.

mod api_server;
mod calls;
mod garbage;
mod ledger;
mod rotation;
mod sockets;
mod world;
