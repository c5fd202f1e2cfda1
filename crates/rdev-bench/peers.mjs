// The peers that run on Node, told what to do by a JSON object a line on stdin; each is answered by one on
// stdout. graphile-worker and pg-boss are found in the folder PEERS.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.PEERS}/`);
const POLL_MS = 2;
/** pg-boss is never told of a job: it looks, at most this often. */
const BOSS_POLL_SECONDS = 0.5;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Calls `work` with 0 … count-1, so many at once. */
async function inParallel(count, atOnce, work) {
    let next = 0;
    const lane = async () => {
        while (next < count) await work(next++);
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
}

/** Calls `send` so often a second, without waiting for any; each call is told when it was due. */
async function atRate(rate, seconds, send) {
    const begun = performance.now();
    const sent = [];
    for (let n = 0; n < rate * seconds; n++) {
        const wait = begun + (n * 1000) / rate - performance.now();
        if (wait > 0) await sleep(wait);
        sent.push(send());
    }
    await Promise.all(sent);
}

class Graphile {
    constructor({ url, pool }) {
        this.worker = require("graphile-worker");
        const { Pool } = require("pg");
        this.pool = new Pool({ connectionString: url, max: pool });
        const report = (error) => console.error(error);
        this.pool.on("error", report).on("connect", (client) => client.on("error", report));
        this.logger = new this.worker.Logger(() => () => {});
        this.took = () => {};
    }

    async open() {
        this.utils = await this.worker.makeWorkerUtils({ pgPool: this.pool, logger: this.logger });
        await this.utils.migrate();
    }

    /** As many at once with a fetch and a completion each, or through its local queue and its batched completion. */
    work(atOnce, batch) {
        const batched = batch > 1 ? { localQueue: { size: batch }, completeJobBatchDelay: 0 } : {};
        return this.worker.run({
            pgPool: this.pool,
            logger: this.logger,
            noHandleSignals: true,
            preset: { worker: { concurrentJobs: atOnce, ...batched } },
            taskList: { noop: (payload) => this.took(payload) },
        });
    }

    async enqueue({ count, atOnce, batch }) {
        if (batch === 1) return inParallel(count, atOnce, () => this.utils.addJob("noop", {}));
        const jobs = Array.from({ length: batch }, () => ({ identifier: "noop", payload: {} }));
        return inParallel(count / batch, atOnce, () => this.utils.addJobs(jobs));
    }

    async run({ count, atOnce, batch }) {
        let [took, first] = [0, 0];
        const all = new Promise((done) => {
            this.took = () => {
                if (took++ === 0) first = performance.now();
                if (took === count) done();
            };
        });
        const runner = await this.work(atOnce, batch);
        await all;
        const left = "SELECT 1 FROM graphile_worker._private_jobs LIMIT 1";
        while ((await this.pool.query(left)).rows.length > 0) await sleep(POLL_MS);
        const seconds = (performance.now() - first) / 1000;
        await runner.stop();
        return seconds;
    }

    async latency({ rate, seconds, atOnce }) {
        const lags = [];
        this.took = ({ at }) => {
            lags.push(performance.now() - at);
        };
        const runner = await this.work(atOnce, 1);
        await sleep(500);
        await atRate(rate, seconds, () => this.utils.addJob("noop", { at: performance.now() }));
        while (lags.length < rate * seconds) await sleep(POLL_MS);
        await runner.stop();
        return lags;
    }

    async idle({ seconds, atOnce }) {
        const runner = await this.work(atOnce, 1);
        await sleep(seconds * 1000);
        await runner.stop();
    }

    async close() {
        await this.utils.release();
        await this.pool.end();
    }
}

class Boss {
    constructor({ url, pool }) {
        const PgBoss = require("pg-boss");
        this.boss = new PgBoss({ connectionString: url, max: pool });
        this.boss.on("error", (error) => console.error(error));
    }

    async open() {
        await this.boss.start();
        await this.boss.createQueue("noop");
    }

    async enqueue({ count, atOnce, batch }) {
        if (batch === 1) return inParallel(count, atOnce, () => this.boss.send("noop", {}));
        const jobs = Array.from({ length: batch }, () => ({ name: "noop", data: {} }));
        return inParallel(count / batch, atOnce, () => this.boss.insert(jobs));
    }

    /** With fetch and complete: its work() fetches at most twice a second where the batch before was quick. */
    async run({ count, atOnce, batch }) {
        const begun = performance.now();
        let left = count;
        const lane = async () => {
            while (left > 0) {
                const jobs = await this.boss.fetch("noop", { batchSize: batch });
                if (jobs.length === 0) {
                    await sleep(POLL_MS);
                    continue;
                }
                const ids = jobs.map((job) => job.id);
                await this.boss.complete("noop", ids);
                left -= ids.length;
            }
        };
        await Promise.all(Array.from({ length: batch > 1 ? 4 : atOnce }, lane));
        return (performance.now() - begun) / 1000;
    }

    /** As many at once, all from one loop: it fetches up to `atOnce` each time. */
    work(atOnce, took) {
        const options = { batchSize: atOnce, pollingIntervalSeconds: BOSS_POLL_SECONDS };
        return this.boss.work("noop", options, async (jobs) => jobs.forEach((job) => took(job.data)));
    }

    async latency({ rate, seconds, atOnce }) {
        const lags = [];
        // Half a second's jobs wait each time it looks.
        const id = await this.work(Math.max(atOnce, rate), ({ at }) => lags.push(performance.now() - at));
        await atRate(rate, seconds, () => this.boss.send("noop", { at: performance.now() }));
        while (lags.length < rate * seconds) await sleep(POLL_MS);
        await this.boss.offWork({ id });
        return lags;
    }

    async idle({ seconds, atOnce }) {
        const id = await this.work(atOnce, () => {});
        await sleep(seconds * 1000);
        await this.boss.offWork({ id });
    }

    /** Time of each of `count` claims, in ms; what they claim stays claimed. */
    async claims({ count, batch }) {
        const times = [];
        for (let n = 0; n < count; n++) {
            const begun = performance.now();
            const jobs = await this.boss.fetch("noop", { batchSize: batch });
            times.push(performance.now() - begun);
            if (jobs.length !== batch) throw new Error(`${jobs.length} jobs were claimed`);
        }
        return times;
    }

    async close() {
        await this.boss.stop({ graceful: false });
    }
}

let peer;
for await (const line of createInterface({ input: process.stdin })) {
    const { call, ...args } = JSON.parse(line);
    let answer;
    try {
        if (call === "open") {
            peer = args.peer === "pg-boss" ? new Boss(args) : new Graphile(args);
            await peer.open();
            answer = { ok: null };
        } else {
            const begun = performance.now();
            const result = await peer[call](args);
            answer = { ok: result ?? (performance.now() - begun) / 1000 };
        }
    } catch (error) {
        answer = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
