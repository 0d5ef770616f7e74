// kafkajs while its server is killed, and transactions whose connections break.
'use strict'

const assert = require('node:assert/strict')
const { Kafka, logLevel } = require('kafkajs')

const { TIDELOG_VICTIM, TIDELOG_VICTIM_CUT, TIDELOG_VICTIM_CONTROL } = process.env
const retry = { retries: 30, initialRetryTime: 50, maxRetryTime: 500 }
const client = (broker) => new Kafka({ clientId: 'interop', brokers: [broker], logLevel: logLevel.NOTHING, retry })
const kafka = client(TIDELOG_VICTIM)
const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n)
const parity = (from, to) => range(from, to).map((n) => ({ value: String(n), partition: n % 2 }))

// `kill` the server and wait until it is there again; `cut` all connections, or let one `lose` the answer to its end of a transaction.
const ask = async (what) => (await fetch(`http://${TIDELOG_VICTIM_CONTROL}/${what}`)).text()

// Breaks connections, of which there must be some.
const broken = async (what) => assert.ok(Number(await ask(what)) > 0, `connections to ${what}`)

async function withAdmin (action) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await action(admin)
  } finally {
    await admin.disconnect()
  }
}

const create = (topic) => withAdmin((admin) => admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 2, replicationFactor: 1 }] }))

async function until (condition, what) {
  for (const deadline = Date.now() + 120_000; !condition();) {
    if (Date.now() > deadline) throw new Error(`${what}: not in time`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// A member that commits what it is asked to; it notes what it has read, and by partition where it stands.
async function join (groupId, topic, options = {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 300, maxWaitTimeInMs: 200, ...options })
  const member = { consumer, seen: [], next: [0, 0] }
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      member.seen.push({ partition, offset: Number(message.offset), value: Number(message.value) })
      member.next[partition] = Number(message.offset) + 1
    }
  })
  member.commit = async () => {
    const offsets = [...member.next]
    await consumer.commitOffsets(offsets.map((offset, partition) => ({ topic, partition, offset: String(offset) })))
    return offsets
  }
  return member
}

// All that is in a partition, which must be so many records.
async function read (topic, partition, count, { group = `reader-${topic}-${partition}`, ...options } = {}) {
  const member = await join(group, topic, options)
  const mine = () => member.seen.filter((one) => one.partition === partition)
  try {
    await until(() => mine().length >= count, `${count} records`)
    return mine()
  } finally {
    await member.consumer.disconnect()
  }
}

async function killed (topic, groupId) {
  await create(topic)
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry })
  await producer.connect()
  const send = async (from, to) => {
    for (let n = from; n < to; n += 10) await producer.send({ topic, acks: -1, messages: parity(n, n + 10) })
  }
  const member = await join(groupId, topic)
  const distinct = () => new Set(member.seen.map((one) => one.value)).size
  await send(0, 100)
  await until(() => member.seen.length >= 40, '40 records')
  const before = await member.commit()
  let sending = send(100, 200)
  await ask('kill')
  const [stands] = await withAdmin((admin) => admin.fetchOffsets({ groupId, topics: [topic] }))
  const offsets = stands.partitions.sort((a, b) => a.partition - b.partition).map((one) => Number(one.offset))
  assert.deepEqual(offsets, before, 'where the group stands after the kill')
  await sending
  await until(() => distinct() >= 200, '200 records')
  sending = send(200, 300)
  await ask('kill')
  await sending
  await until(() => distinct() >= 300, '300 records')
  await member.commit()
  await member.consumer.disconnect()
  for (const partition of [0, 1]) {
    const stored = await read(topic, partition, 150)
    assert.deepEqual(stored.map((one) => one.value), range(0, 300).filter((n) => n % 2 === partition), 'each record once, in order')
    assert.equal(stored.at(-1).offset, 149, 'the last offset')
  }
  await producer.send({ topic, acks: -1, messages: [{ value: '300', partition: 0 }] })
  await producer.disconnect()
  const next = await join(groupId, topic)
  await until(() => next.seen.length > 0, 'the group reads on')
  await next.consumer.disconnect()
  assert.deepEqual(next.seen.map((one) => one.value), [300], 'what the group reads after its commit')
}

// Connections break while records are sent, or take along the answer to the abort. kafkajs sends records again, but the end of a transaction
// only once: a producer that has lost the answer begins no other transaction, and the next one of its transactional id ends what is open.
async function aborted (topic) {
  await create(topic)
  const behind = client(TIDELOG_VICTIM_CUT)
  const connect = async () => {
    const producer = behind.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1, retry })
    await producer.connect()
    return producer
  }
  let producer = await connect()
  const replace = async (next) => {
    await producer.disconnect()
    producer = next
  }
  const committed = []
  for (const [n, how] of ['cut', 'lose', '', 'leave', 'lose', '', 'fence', 'cut', ''].entries()) {
    const [from, to] = [20 * n, 20 * n + 20]
    const transaction = await producer.transaction()
    await transaction.send({ topic, acks: -1, messages: parity(from, from + 10) })
    const rest = transaction.send({ topic, acks: -1, messages: parity(from + 10, to) })
    if (['cut', 'leave', 'fence'].includes(how)) await broken('cut')
    await rest
    if (how === 'cut') {
      // The connection may have broken behind the last answer, and the client not have seen it yet.
      const ended = await transaction.abort().then(() => true, () => false)
      if (!ended) await replace(await connect())
    } else if (how === 'lose') {
      await broken('lose')
      await assert.rejects(transaction.abort(), 'an abort whose answer is lost')
      await assert.rejects(producer.transaction(), 'a transaction behind it')
      await replace(await connect())
    } else if (how === 'leave') {
      await replace(await connect())
    } else if (how === 'fence') {
      const next = await connect()
      await (await next.transaction()).abort()
      await assert.rejects(transaction.commit(), ({ type }) => type === 'INVALID_PRODUCER_EPOCH')
      await replace(next)
    } else {
      await transaction.commit()
      committed.push(...range(from, to))
    }
  }
  await producer.disconnect()
  for (const partition of [0, 1]) {
    const expected = committed.filter((n) => n % 2 === partition)
    // A consumer of kafkajs reads what is committed unless it is told otherwise.
    const values = (await read(topic, partition, expected.length)).map((one) => one.value)
    assert.deepEqual(values, expected, 'what is committed')
    // All was written, once: what nobody committed too.
    const all = await read(topic, partition, 9 * 10, { readUncommitted: true, group: `all-${topic}-${partition}` })
    assert.deepEqual(all.map((one) => one.value), range(0, 9 * 20).filter((n) => n % 2 === partition), 'what is written')
  }
}

module.exports = { aborted, killed }
