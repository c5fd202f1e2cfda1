// Follows an event stream of rdev in a browser, through restarts and a proxy's 502: each connection has a ticket of its
// own, and goes on after the last event. `onEvent(name, data)` returns false to stop, say after `complete`.
// `ticketFor(path)` asks your own server, which holds the key, for `POST /events/ticket {"path"}`.
export function follow(path, onEvent, ticketFor, last = "") {
  let source, timer, stopped = false;
  const stop = () => { stopped = true; clearTimeout(timer); source?.close(); };
  const again = () => { source?.close(); clearTimeout(timer); if (!stopped) timer = setTimeout(connect, 500 + 1000 * Math.random()); };
  async function connect() {
    const ticket = await ticketFor(path).catch(() => null);
    if (!ticket || stopped) return again();
    const query = new URLSearchParams({ stderr: "output", last_event_id: last, ticket });
    source = new EventSource(path + (path.includes("?") ? "&" : "?") + query);
    source.onerror = again; // With stderr=output no event of the stream is called `error`.
    for (const name of ["status", "output", "agent", "step", "complete", "gap", "heartbeat"])
      source.addEventListener(name, (event) => {
        last = event.lastEventId || last; // A heartbeat has the place where the stream begins, or has come to.
        if (name !== "heartbeat" && onEvent(name, JSON.parse(event.data)) === false) stop();
      });
  }
  connect();
  return stop;
}
