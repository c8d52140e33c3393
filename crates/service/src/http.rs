//! Serving HTTP on a thread that has other things to end for.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};

use crate::telemetry::Telemetry;

/// How often a server looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Opens an address to listen on, `host:port`.
///
/// # Errors
/// A message that names option and address.
pub fn listen(option: &str, address: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).map_err(|error| format!("{option}: {address}: {error}"))?;
    listener
        .set_nonblocking(true)
        .map_err(|error| format!("{option}: {address}: {error}"))?;
    Ok(listener)
}

/// Serves until `stop` is set; open streams are cut then.
///
/// # Errors
/// A message if the runtime or the socket fails.
pub fn serve(listener: TcpListener, routes: Router, stop: &AtomicBool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("HTTP server cannot start: {error}"))?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stopped = async {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            served = async { axum::serve(listener, routes).await } => served,
            () = stopped => Ok(()),
        }
    });
    served.map_err(|error: std::io::Error| format!("HTTP server ended: {error}"))
}

/// Measures every request of a service by route and status.
pub fn measured(routes: Router, telemetry: Telemetry, service: &'static str) -> Router {
    routes.route_layer(from_fn_with_state((telemetry, service), measure))
}

async fn measure(
    State((telemetry, service)): State<(Telemetry, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    telemetry.request(
        service,
        route,
        response.status().as_u16(),
        begun.elapsed().as_secs_f64(),
    );
    response
}
