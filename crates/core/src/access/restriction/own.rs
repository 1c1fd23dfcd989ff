//! What belongs to one node by its name: leases, CSINodes, resource slices; and the status of its pods' claims.

use super::{Asked, Operation, quote, same};
use crate::access::node::LEASES;
use crate::error::Error;

impl Asked<'_> {
    pub(super) fn lease(&self) -> Result<(), Error> {
        if self.write.namespace != LEASES {
            return self.refuse(format!("can only access leases in the {} system namespace", quote(LEASES)));
        }
        if self.meant() != self.node {
            return self.refuse("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    pub(super) fn csi_node(&self) -> Result<(), Error> {
        if self.meant() != self.node {
            return self.refuse("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    /// The authorizer sees neither what is created nor each object of a collection that is deleted.
    pub(super) fn slice(&self) -> Result<(), Error> {
        let (object, verb) = match self.write.operation {
            Operation::Create => (self.new, "create"),
            Operation::Delete => (self.write.old, "delete"),
            Operation::Connect | Operation::Update => return Ok(()),
        };
        if object.is_none_or(|slice| slice.str_at(&["spec", "nodeName"]) != self.node) {
            return self.refuse(format!(
                "can only {verb} ResourceSlice with the same NodeName as the requesting node"
            ));
        }
        Ok(())
    }

    /// A node reports how a volume grows, and nothing else of a claim. Upstream's message ends with Go's diff of the
    /// two, which is left out.
    pub(super) fn claim(&self) -> Result<(), Error> {
        if self.write.subresource != "status" {
            return self.refuse("may only update PVC status");
        }
        let (Operation::Update, Some(new), Some(old)) = (self.write.operation, self.new, self.write.old)
        else {
            return self.refuse(format!("unexpected operation {}", quote(self.write.operation.as_str())));
        };
        let (mut new, mut old) = (new.clone(), old.clone());
        for object in [&mut new, &mut old] {
            for field in ["allocatedResourceStatuses", "allocatedResources", "capacity", "conditions"] {
                object.remove(&["status", field]);
            }
            for field in ["managedFields", "resourceVersion"] {
                object.remove(&["metadata", field]);
            }
        }
        if !same(Some(&new.into_value()), Some(&old.into_value())) {
            return self.refuse(format!(
                "node {} is not allowed to update fields other than status.quantity and status.conditions",
                self.quoted()
            ));
        }
        Ok(())
    }
}
