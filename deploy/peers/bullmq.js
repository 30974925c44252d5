// A worker on BullMQ: the backlog goes into a queue of BullMQ's own, and each job publishes one outcome.
'use strict';

const { Queue, Worker } = require('bullmq');
const Redis = require('ioredis');

const url = new URL(process.env.STARTJOBS_REDIS_URL);
const password = decodeURIComponent(url.password) || undefined;
const connection = { host: url.hostname, port: Number(url.port), password };
const jobs = process.env.STARTJOBS_JOBS_STREAM;
const results = process.env.STARTJOBS_RESULTS_STREAM;
const prefix = `${jobs}:bullmq`;
const NAME = 'start-jobs';
const PAGE = 1000;

async function fill() {
  const redis = new Redis(connection);
  const queue = new Queue(NAME, { connection, prefix });
  let from = '-';
  for (;;) {
    const page = await redis.xrange(jobs, from, '+', 'COUNT', PAGE);
    if (page.length === 0) break;
    const options = { removeOnComplete: true, removeOnFail: true };
    await queue.addBulk(
      page.map(([id, fields]) => {
        const data = { source_ref: id };
        for (let at = 0; at < fields.length; at += 2) data[fields[at]] = fields[at + 1];
        return { name: 'start', data, opts: options };
      }),
    );
    from = `(${page[page.length - 1][0]}`;
  }
  await queue.close();
  redis.disconnect();
}

function run() {
  const redis = new Redis(connection);
  const start = async ({ data }) => {
    await redis.xadd(
      results, '*',
      'game_id', data.game_id,
      'outcome', 'success',
      'container_id', '9f3c0000000000000000000000000000000000000000000000000000000000aa',
      'engine_endpoint', `http://rtm-${data.game_id}:8080`,
      'error_code', '',
      'error_message', '',
      'source_ref', data.source_ref,
      'requested_at_ms', data.requested_at_ms,
      'finished_at_ms', String(Date.now()),
      'attempt', '1',
    );
  };
  const worker = new Worker(NAME, start, { connection, prefix, concurrency: 50 });
  worker.on('error', (error) => console.error(error));
}

if (process.argv[2] === 'fill') {
  fill().catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  run();
}
