//! Plans to decide by, in tests: a service `shop` with one arm, and the toggles that a test asks for.

use std::{path::PathBuf, time::Duration};

use super::{
    Arm, ArmId, ArmLimits, Balance, Checking, Forwarding, Lane, LaneId, Limits, Plan, PlannedRollout, PlannedToggle,
    Process, RetryBudget, Route, Service, ServiceId, Split, Timeouts, ToggleId,
};
use crate::{
    bucket::Weight,
    rollout::{Course, Rollout},
    route::{HostPattern, PathPattern, Pattern, RouteId, RouteTable},
    toggle::{Toggle, VariantId, sample},
};

/// Builds a [`Plan`] toggle by toggle.
#[derive(Debug, Default)]
pub(crate) struct Sample(Vec<PlannedToggle>);

impl Sample {
    /// Adds a sample toggle after `shape` changed it.
    pub(crate) fn toggle(mut self, name: &str, shape: impl FnOnce(&mut Toggle)) -> Sample {
        let mut toggle = sample::toggle(name);
        shape(&mut toggle);
        self.0.push(PlannedToggle { toggle, rollout: None });
        self
    }

    /// Gives a variant of the last toggle a share.
    pub(crate) fn rollout(mut self, variant: VariantId, weight: &str) -> Sample {
        let weight: Weight = weight.parse().unwrap();
        let last = self.0.last_mut().unwrap();
        let rollout = Rollout { name: last.toggle.name.clone(), course: Course::Fixed(weight) };
        last.rollout = Some(PlannedRollout { rollout, variant });
        self
    }

    pub(crate) fn plan(self) -> Plan {
        let second = Duration::from_secs(1);
        let any = Pattern {
            host: HostPattern::Any,
            path: PathPattern::Prefix(String::new()),
            methods: vec![],
            headers: vec![],
        };
        Plan {
            process: Process {
                workers: 1,
                state_dir: PathBuf::from("state"),
                drain_timeout: second,
                lame_duck: second,
                admin: None,
                telemetry: None,
                ofrep: None,
            },
            limits: limits(),
            timeouts: timeouts(),
            access_log: None,
            forwarding: Forwarding { name: "weir".into(), via: None, x_forwarded: true, forwarded: false },
            listeners: Vec::new(),
            table: RouteTable::new(vec![any]).unwrap(),
            routes: vec![Route {
                name: "shop".into(),
                service: ServiceId(0),
                timeout: second,
                total_timeout: None,
                retries: None,
                checking: Checking::Off,
                require: None,
                upgrades: Vec::new(),
                first_lane: LaneId(0),
            }],
            services: vec![Service {
                name: "shop".into(),
                first_arm: ArmId(0),
                arm_count: 1,
                split: Split::None(ArmId(0)),
                retry_budget: RetryBudget { percent: 20, per_second: 10, window: Duration::from_secs(10) },
            }],
            arms: vec![Arm {
                name: "stable".into(),
                service: ServiceId(0),
                endpoints: Vec::new(),
                contract: None,
                on_unavailable: None,
                limits: ArmLimits { connections_max: 1, requests_max: 1, pending_max: 1, streams_max: 1 },
                ejection: None,
                balance: Balance { decay: Duration::from_secs(10), penalty: Duration::from_secs(5) },
                slow_start: None,
                propagates: false,
            }],
            endpoints: Vec::new(),
            timed: self.0.iter().any(|planned| planned.toggle.is_timed()),
            toggle_ids: self.0.iter().map(|planned| planned.toggle.name.clone()).zip((0..).map(ToggleId)).collect(),
            toggles_by_name: (0..self.0.len()).map(ToggleId).collect(),
            toggles: self.0,
            ofrep: None,
            issuers: Vec::new(),
            propagation: None,
            carried: Vec::new(),
            in_flight: false,
            sticky: None,
            contracts: Vec::new(),
            cohort_headers: Vec::new(),
            lanes: vec![Lane { route: RouteId(0), arm: ArmId(0) }],
        }
    }
}

fn limits() -> Limits {
    Limits {
        connections_max: 1,
        requests_max: 1,
        tunnels_max: 1,
        head_bytes_max: 8192,
        target_bytes_max: 8192,
        trailer_bytes_max: 8192,
        interim_responses_max: 1,
        via_hops_max: 1,
        header_count_max: 10,
        body_bytes_max: 1,
        contract_body_bytes_max: 1,
        idle_upstream_connections_max: 1,
        upstream_connections_max: 1,
        body_rate_min: 0,
        upstream_http2_stream_window_bytes: 16_384,
        upstream_http2_connection_window_bytes: 16_384,
        upstream_http2_send_bytes_max: 1,
        replay_body_bytes_max: 1,
        dns_lookups_max: 1,
        linger_bytes_max: 1,
        tls_handshakes_max: 1,
        connections_per_source_max: 1,
        http2_streams_max: 1,
        http2_stream_window_bytes: 16_384,
        http2_connection_window_bytes: 16_384,
        http2_frame_bytes_max: 16_384,
        http2_send_bytes_max: 1,
        http2_resets_max: 1,
        http2_cancels_max: 1,
        token_bytes_max: 1,
        tokens_remembered_max: 1,
    }
}

pub(crate) fn timeouts() -> Timeouts {
    let second = Duration::from_secs(1);
    Timeouts {
        tls_handshake: second,
        client_head: second,
        connect: second,
        body_idle: second,
        stream_idle: second,
        expect_continue: second,
        linger: second,
        first_request: second,
        goaway: second,
        half_closed: second,
        tunnel_idle: second,
        upstream_idle: second,
        dns: second,
        dns_refresh: second,
        proxy_protocol: second,
        http2_ping: second,
        http2_pong: second,
    }
}

impl Plan {
    /// The toggle of that name.
    pub(crate) fn id(&self, name: &str) -> ToggleId {
        ToggleId(self.toggles.iter().position(|planned| planned.toggle.name == name).unwrap())
    }
}
