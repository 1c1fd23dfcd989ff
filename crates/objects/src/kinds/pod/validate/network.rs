//! A pod's names and addresses in the network.

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{flag, list, some, strings, text};
use crate::path::Path;
use crate::{address, names};

/// A pod in its node's network has the ports that its containers have.
pub(super) fn host_ports(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    if !flag(spec, "hostNetwork") {
        return;
    }
    let at = at.child("containers");
    for (index, container) in list(spec, "containers").iter().enumerate() {
        let at = at.index(index);
        let at = at.child("ports");
        for (index, port) in list(container, "ports").iter().enumerate() {
            let (own, host) =
                (port["containerPort"].as_i64().unwrap_or(0), port["hostPort"].as_i64().unwrap_or(0));
            if own != host {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&at.index(index).child("hostPort"), host, detail);
            }
        }
    }
}

/// `spec.dnsConfig`.
pub(super) fn dns(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let config = some(spec, "dnsConfig");
    if text(spec, "dnsPolicy") == "None" {
        let Some(config) = config else {
            return errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None");
        };
        if list(config, "nameservers").is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(&at.child("nameservers"), detail);
        }
    }
    let Some(config) = config else { return };
    let here = &at.child("nameservers");
    if list(config, "nameservers").len() > 3 {
        errors.invalid(here, &config["nameservers"], "must not have more than 3 nameservers");
    }
    for (index, server) in strings(config, "nameservers").enumerate() {
        address::ip(errors, &here.index(index), server);
    }
    let here = &at.child("searches");
    let count = list(config, "searches").len();
    if count > 32 {
        errors.invalid(here, &config["searches"], "must not have more than 32 search paths");
    }
    let characters: usize = strings(config, "searches").map(str::len).sum();
    if characters.saturating_add(count.saturating_sub(1)) > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(here, &config["searches"], detail);
    }
    for (index, search) in strings(config, "searches").enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.each(&here.index(index), search, names::search_path(search));
    }
    for (index, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(&at.child("options").index(index), "must not be empty");
        }
    }
}

/// `spec.hostnameOverride`.
pub(super) fn host_name(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let Some(name) = spec["hostnameOverride"].as_str() else { return };
    let at = &at.child("hostnameOverride");
    if flag(spec, "setHostnameAsFQDN") {
        errors.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
    }
    if flag(spec, "hostNetwork") {
        errors.forbidden(at, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(at, 64);
    }
    errors.each(at, name, names::subdomain(name));
}

/// `spec.hostAliases`.
pub(super) fn aliases(errors: &mut Findings, at: &Path<'_>, aliases: &[Value]) {
    for (index, alias) in aliases.iter().enumerate() {
        let at = at.index(index);
        address::ip(errors, &at.child("ip"), text(alias, "ip"));
        let hosts = at.child("hostnames");
        for (index, name) in strings(alias, "hostnames").enumerate() {
            errors.each(&hosts.index(index), name, names::subdomain(name));
        }
    }
}
