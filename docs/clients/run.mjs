// Runs a shell line in a project and prints its output: each line once, also when rdev restarts meanwhile. Node 18 or newer.
//
//     RDEV_API_KEY=… node run.mjs http://127.0.0.1:8080 demo 'make test'
import { randomUUID } from 'node:crypto'

const [url, project, command] = process.argv.slice(2)
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000))

// Asks until there is an answer: a server that restarts, and its proxy, come back.
async function call(path, headers, options = {}) {
  headers = { Authorization: `Bearer ${process.env.RDEV_API_KEY}`, ...headers }
  for (;;) {
    const answer = await fetch(url + path, { headers, ...options }).catch(() => undefined)
    if (answer?.ok) return answer
    if (answer && ![429, 502, 503, 504].includes(answer.status)) {
      throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    }
    await pause(answer?.headers.get('retry-after') ?? 1)
  }
}

// Yields the events of a stream, each once, until the stream is over.
async function* events(path) {
  for (let last = {}; ; ) {
    const answer = await call(path, last)
    if (answer.status === 204) return
    let text = ''
    try {
      for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (text + piece).split('\n\n')
        text = blocks.pop()
        for (const block of blocks) {
          const event = Object.fromEntries(block.split('\n').map((row) => row.split(/: (.*)/, 2)))
          if (event.id) last = { 'Last-Event-ID': event.id }
          if (event.data) yield [event.event, JSON.parse(event.data)]
        }
      }
    } catch (error) {
      if (error instanceof SyntaxError) throw error // Anything else is a cut connection.
    }
  }
}

// Asked again with the same key, the command still runs once.
const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': randomUUID() }
const accepted = await call(`/projects/${project}/shell`, headers, { method: 'POST', body: JSON.stringify({ command }) })
for await (const [name, data] of events((await accepted.json()).data.stream_url)) {
  if (name === 'output' || name === 'error') {
    process[data.stream].write(data.line + (data.partial ? '' : '\n'))
  } else if (name === 'gap') {
    console.error(`output is missing: ${data.reason}`)
  } else if (name === 'complete') {
    process.exitCode = data.exit_code ?? 1
    break
  }
}
