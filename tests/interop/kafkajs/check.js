// kafkajs against a server at TIDELOG_KAFKA.
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const {
  AclOperationTypes, AclPermissionTypes, AclResourceTypes, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel,
  ResourcePatternTypes
} = require('kafkajs')
const lz4 = require('lz4-napi')
const snappy = require('snappyjs')
const zstd = require('@bokuweb/zstd-wasm')

// Longest a single check may take, ms.
const PATIENCE = 240_000
const RUN = Date.now().toString(16)

// kafkajs has gzip; the others are plugged in. The zstd module gives no streaming, which batches do not need.
const XERIAL = Buffer.from([130, 83, 78, 65, 80, 80, 89, 0])
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async (encoder) => snappy.compress(encoder.buffer),
  decompress: async (buffer) => {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return snappy.uncompress(buffer)
    const parts = []
    for (let at = 16; at < buffer.length;) {
      const size = buffer.readInt32BE(at)
      parts.push(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size)))
      at += 4 + size
    }
    return Buffer.concat(parts)
  }
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer))
})

const kafka = new Kafka({ clientId: 'interop', brokers: [process.env.TIDELOG_KAFKA], logLevel: logLevel.NOTHING, retry: { retries: 5 } })
const admin = kafka.admin()
const topic = (name) => `${name}-${RUN}`
const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n)
const numeric = (list) => [...list].sort((a, b) => a - b)

async function create (name, partitions = 1, configEntries = []) {
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: name, numPartitions: partitions, replicationFactor: 1, configEntries }] })
}

async function produce (name, messages, { acks = -1, compression = CompressionTypes.None, ...options } = {}) {
  const producer = kafka.producer({ allowAutoTopicCreation: true, ...options })
  await producer.connect()
  try {
    return await producer.send({ topic: name, messages, acks, compression })
  } finally {
    await producer.disconnect()
  }
}

async function until (condition, what, ms = 90_000) {
  const deadline = Date.now() + ms
  for (;;) {
    const result = await condition()
    if (result) return result
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// A member of a group: what it has and what it read. `joined` is told by kafkajs itself.
class Member {
  constructor (group, name, { fromBeginning = true, ...options } = {}) {
    this.seen = []
    this.mine = new Set()
    this.crash = null
    this.consumer = kafka.consumer({ groupId: group, sessionTimeout: 10_000, heartbeatInterval: 300, maxWaitTimeInMs: 200, ...options })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => { this.mine = new Set(payload.memberAssignment[name] ?? []) })
    this.consumer.on(this.consumer.events.CRASH, ({ payload }) => { this.crash = payload.error })
    this.name = name
    this.fromBeginning = fromBeginning
  }

  async join (run = {}) {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.name], fromBeginning: this.fromBeginning })
    await this.consumer.run({ eachMessage: async ({ partition, message }) => { this.seen.push({ partition, ...message }) }, ...run })
    return this
  }

  has (...partitions) { return this.mine.size === partitions.length && partitions.every((p) => this.mine.has(p)) }

  async leave () {
    await this.consumer.disconnect()
    assert.equal(this.crash, null)
  }
}

// kafkajs reads only in groups: a group of one, from the beginning or from an offset.
async function consume (name, count, { partition = 0, offset } = {}) {
  const member = new Member(topic(`reader-${name}-${partition}-${offset}`), name)
  await member.join()
  if (offset !== undefined) member.consumer.seek({ topic: name, partition, offset: String(offset) })
  const mine = () => member.seen.filter((m) => m.partition === partition)
  try {
    await until(() => mine().length >= count, `${count} records`)
    return mine()
  } finally {
    await member.leave()
  }
}

async function refused (type, action) {
  let result
  try {
    result = await action()
  } catch (error) {
    const parts = [error.groups, error.partitions, error.cause?.partitions].flatMap((list) => list ?? []).map((one) => one.error)
    const types = [error, error.cause, ...(error.errors ?? []), ...parts].map((one) => one?.type)
    assert.ok(types.includes(type), `${types}, expected ${type}: ${error}`)
    return
  }
  throw new Error(`accepted: ${JSON.stringify(result)}`)
}

const checks = []
const check = (name, action) => checks.push([name, action])

for (const [codec, compression] of Object.entries({ none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 })) {
  for (const acks of [0, 1, -1]) {
    check(`codec ${codec}, acks ${acks < 0 ? 'all' : acks}`, async () => {
      const name = topic(`codec-${codec}-${acks}`)
      await create(name)
      const values = range(0, 50).map((n) => `value ${n} `.repeat(50))
      await produce(name, values.map((value, n) => ({ key: String(n), value })), { acks, compression })
      const messages = await consume(name, 50)
      assert.deepEqual(messages.map((m) => m.value.toString()), values)
      assert.deepEqual(messages.map((m) => m.key.toString()), range(0, 50).map(String))
      assert.deepEqual(messages.map((m) => Number(m.offset)), range(0, 50))
    })
  }
}

check('headers, repeated keys', async () => {
  const name = topic('headers')
  await create(name)
  await produce(name, [{ value: 'x', headers: { a: ['1', '2', '1'], b: '', 'ü': Buffer.from([0, 255]) } }, { value: 'y' }])
  const [first, second] = await consume(name, 2)
  assert.deepEqual(first.headers.a.map(String), ['1', '2', '1'])
  assert.equal(String(first.headers.b), '')
  assert.deepEqual([...first.headers['ü']], [0, 255])
  assert.deepEqual(second.headers, {})
})

check('null and empty keys and values', async () => {
  const name = topic('nulls')
  await create(name)
  const pairs = [[null, null], ['', ''], [null, 'v'], ['k', null], ['k', 'v']]
  await produce(name, pairs.map(([key, value]) => ({ key, value })))
  const messages = await consume(name, 5)
  const text = (buffer) => buffer === null ? null : buffer.toString()
  assert.deepEqual(messages.map((m) => [text(m.key), text(m.value)]), pairs)
})

check('large record', async () => {
  const name = topic('large')
  await create(name)
  const value = Buffer.from(range(0, 1_000_000).map((n) => n * 7919 % 251))
  await produce(name, [{ value }])
  assert.ok((await consume(name, 1))[0].value.equals(value))
})

check('too large record is refused, the next one stored', async () => {
  const name = topic('too-large')
  await create(name)
  await refused('MESSAGE_TOO_LARGE', () => produce(name, [{ value: Buffer.alloc(2_000_000) }]))
  await produce(name, [{ value: 'small' }])
  assert.equal(String((await consume(name, 1))[0].value), 'small')
})

check('seek by time', async () => {
  const name = topic('times')
  await create(name)
  const start = Date.now() - 100_000
  await produce(name, range(0, 10).map((n) => ({ value: String(n), timestamp: String(start + n * 1000) })))
  const at = async (time) => Number((await admin.fetchTopicOffsetsByTimestamp(name, time))[0].offset)
  assert.equal(await at(start - 5000), 0)
  assert.equal(await at(start + 3000), 3)
  assert.equal(await at(start + 3001), 4)
  assert.equal(await at(start + 60_000), 10)
  const [offsets] = await admin.fetchTopicOffsets(name)
  assert.deepEqual([offsets.low, offsets.high], ['0', '10'])
  const messages = await until(async () => {
    const read = await consume(name, 3, { offset: await at(start + 6500) })
    return read.slice(-3)
  }, 'the last three')
  assert.deepEqual(messages.map((m) => String(m.value)), ['7', '8', '9'])
  assert.deepEqual(messages.map((m) => Number(m.timestamp)), [7, 8, 9].map((n) => start + n * 1000))
})

check('group of two', async () => {
  const name = topic('group')
  const group = topic('g')
  await create(name, 4)
  const first = await new Member(group, name).join()
  await until(() => first.has(0, 1, 2, 3), 'the first member has all partitions')
  const second = await new Member(group, name).join()
  await until(() => first.mine.size === 2 && second.mine.size === 2 && new Set([...first.mine, ...second.mine]).size === 4, 'two partitions each')
  await produce(name, range(0, 40).map((n) => ({ value: String(n), partition: n % 4 })))
  await until(() => first.seen.length + second.seen.length >= 40, 'all records')
  assert.deepEqual(numeric([...first.seen, ...second.seen].map((m) => Number(m.value))), range(0, 40))
  assert.ok(first.seen.every((m) => !second.seen.some((other) => other.partition === m.partition)))
  await second.leave()
  await until(() => first.has(0, 1, 2, 3), 'the first member has all partitions again')
  await produce(name, range(0, 4).map((partition) => ({ value: 'more', partition })))
  await until(() => first.seen.length + second.seen.length >= 44, 'records after the second left')
  await first.leave()
})

check('a member dies', async () => {
  const [name, group] = [topic('death'), topic('g-death')]
  await create(name, 4)
  const first = await new Member(group, name).join()
  await until(() => first.has(0, 1, 2, 3), 'the first member has all partitions')
  const second = fork(__filename, ['--member', group, name])
  try {
    await until(() => first.mine.size === 2, 'two partitions are left to the first')
  } finally {
    second.kill('SIGKILL')
  }
  await until(() => first.has(0, 1, 2, 3), 'the first member has all partitions again')
  await first.leave()
})

check('commit and resume', async () => {
  const name = topic('resume')
  const group = topic('g-resume')
  await create(name)
  await produce(name, range(0, 30).map((n) => ({ value: String(n) })))
  const first = await new Member(group, name).join({ autoCommit: false, eachMessage: async () => {} })
  await until(() => first.has(0), 'the member has its partition')
  await first.consumer.commitOffsets([{ topic: name, partition: 0, offset: '10', metadata: 'ten read' }])
  await first.leave()
  const [committed] = await admin.fetchOffsets({ groupId: group, topics: [name] })
  assert.deepEqual(committed.partitions.map((p) => [p.offset, p.metadata]), [['10', 'ten read']])
  const second = await new Member(group, name).join()
  await until(() => second.seen.length >= 20, 'twenty records')
  await second.leave()
  assert.deepEqual(second.seen.map((m) => Number(m.value)), range(10, 30))
  const [never] = await admin.fetchOffsets({ groupId: topic('g-never'), topics: [name] })
  assert.equal(never.partitions[0].offset, '-1')
})

async function idempotence (client, count) {
  const name = topic(`idempotent-${count}`)
  await create(name, 2)
  const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let n = 0; n < count; n += 20) {
    await producer.send({ topic: name, messages: range(n, n + 20).map((n) => ({ value: String(n), partition: n % 2 })) })
  }
  await producer.disconnect()
  for (const partition of [0, 1]) {
    const messages = await consume(name, count / 2, { partition })
    assert.deepEqual(messages.map((m) => Number(m.value)), range(0, count).filter((n) => n % 2 === partition))
  }
}

check('transactions, committed and aborted', async () => {
  const name = topic('transactions')
  await create(name)
  const producer = kafka.producer({ transactionalId: name, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const n of range(0, 5)) {
    const transaction = await producer.transaction()
    await transaction.send({ topic: name, messages: range(10 * n, 10 * n + 10).map((n) => ({ value: String(n), partition: 0 })) })
    await (n % 2 === 0 ? transaction.commit() : transaction.abort())
  }
  await producer.disconnect()
  // A consumer of kafkajs reads what is committed unless it is told otherwise.
  const messages = await consume(name, 30)
  assert.deepEqual(messages.map((m) => Number(m.value)), range(0, 50).filter((n) => Math.floor(n / 10) % 2 === 0))
})

// Each batch twice: what is aborted moves no position, what is committed does.
check('transactions: read, transform, write', async () => {
  const [from, to, group] = [topic('in'), topic('out'), topic('g-pipeline')]
  await create(from)
  await create(to)
  await produce(from, range(0, 60).map((n) => ({ value: String(n) })))
  const producer = kafka.producer({ transactionalId: to, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const position = async () => Math.max(0, Number((await admin.fetchOffsets({ groupId: group, topics: [from] }))[0].partitions[0].offset))
  let done = 0
  const eachBatch = async ({ batch }) => {
    const values = batch.messages.map((m) => String(m.value))
    const next = Number(batch.lastOffset()) + 1
    for (const commit of [false, true]) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: to, messages: values.map((value) => ({ value: commit ? value : `not ${value}` })) })
      await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic: from, partitions: [{ partition: 0, offset: String(next) }] }] })
      await (commit ? transaction.commit() : transaction.abort())
      const expected = commit ? next : done
      // The markers come after the answer to the end.
      await until(async () => await position() === expected, `the group stands at ${expected}`)
    }
    done = next
  }
  const member = await new Member(group, from, { maxBytesPerPartition: 300 }).join({ eachMessage: undefined, eachBatch, autoCommit: false })
  await until(() => done === 60 || member.crash, 'all is transformed')
  await member.leave()
  await producer.disconnect()
  assert.deepEqual((await consume(to, 60)).map((m) => Number(m.value)), range(0, 60))
})

check('idempotence', () => idempotence(kafka, 200))

// The same server behind a proxy that loses answers.
if (process.env.TIDELOG_CUT) {
  const retry = { retries: 30, initialRetryTime: 50, maxRetryTime: 500 }
  const cut = new Kafka({ clientId: 'interop', brokers: [process.env.TIDELOG_CUT], logLevel: logLevel.NOTHING, retry })
  check('idempotence when connections break', () => idempotence(cut, 4000))
}

if (process.env.TIDELOG_VICTIM) {
  const breaks = require('./breaks')
  check('the server is killed while it is written to and read', () => breaks.killed(topic('killed'), topic('g-killed')))
  check('transactions: aborted when connections break', () => breaks.aborted(topic('aborted')))
}

check('admin: create, list, describe, errors', async () => {
  const name = topic('admin')
  await create(name, 3, [{ name: 'retention.ms', value: '3600000' }])
  await until(async () => (await admin.listTopics()).includes(name), 'the topic is listed')
  const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
  assert.deepEqual(numeric(topics[0].partitions.map((p) => p.partitionId)), [0, 1, 2])
  const cluster = await admin.describeCluster()
  assert.equal(cluster.brokers.length, 1)
  assert.ok(cluster.clusterId)
  // kafkajs answers false for a topic that exists.
  assert.equal(await admin.createTopics({ topics: [{ topic: name }] }), false)
  await refused('INVALID_TOPIC_EXCEPTION', () => admin.createTopics({ topics: [{ topic: 'bad name' }] }))
  await refused('INVALID_REPLICATION_FACTOR', () => admin.createTopics({ topics: [{ topic: topic('rf'), numPartitions: 1, replicationFactor: 9 }] }))
})

check('admin: describe and alter configs', async () => {
  const name = topic('configs')
  await create(name, 1, [{ name: 'retention.ms', value: '3600000' }])
  const settings = async () => {
    const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name }] })
    const values = Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
    return [values['retention.ms'], values['segment.bytes']]
  }
  const alter = (configEntries) => admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }] })
  assert.deepEqual(await settings(), ['3600000', '1073741824'])
  // kafkajs knows only the old way, which replaces all settings.
  await alter([{ name: 'segment.bytes', value: '1048576' }])
  assert.deepEqual(await settings(), ['604800000', '1048576'])
  await refused('INVALID_CONFIG', () => alter([{ name: 'nonsense', value: '1' }]))
})

check('admin: add partitions', async () => {
  const name = topic('grow')
  await create(name, 1)
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 3 }] })
  await until(async () => (await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length === 3, 'three partitions')
  await refused('INVALID_PARTITIONS', () => admin.createPartitions({ topicPartitions: [{ topic: name, count: 2 }] }))
})

check('admin: delete and create again', async () => {
  const name = topic('delete')
  await create(name, 2)
  await produce(name, [{ value: 'old', partition: 0 }])
  await admin.deleteTopics({ topics: [name] })
  await until(async () => !(await admin.listTopics()).includes(name), 'the topic is gone')
  await refused('UNKNOWN_TOPIC_OR_PARTITION', () => admin.deleteTopics({ topics: [name] }))
  await create(name)
  await produce(name, [{ value: 'new' }])
  assert.equal(String((await consume(name, 1))[0].value), 'new')
})

check('admin: delete records', async () => {
  const name = topic('delete-records')
  await create(name)
  await produce(name, range(0, 10).map((n) => ({ value: String(n) })))
  // kafkajs knows the leaders of topics only that it was asked for before.
  assert.equal((await admin.fetchTopicOffsets(name))[0].low, '0')
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '4' }] })
  assert.equal((await admin.fetchTopicOffsets(name))[0].low, '4')
  assert.deepEqual((await consume(name, 6)).map((m) => Number(m.value)), range(4, 10))
  await refused('OFFSET_OUT_OF_RANGE', () => admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '11' }] }))
})

check('admin: groups and their offsets', async () => {
  const [name, group] = [topic('groups'), topic('g-groups')]
  await create(name)
  await produce(name, range(0, 10).map((n) => ({ value: String(n) })))
  const member = await new Member(group, name).join()
  await until(() => member.has(0), 'the member has its partition')
  assert.ok((await admin.listGroups()).groups.some((one) => one.groupId === group && one.protocolType === 'consumer'))
  const [described] = (await admin.describeGroups([group])).groups
  assert.deepEqual([described.state, described.protocol, described.members.length], ['Stable', 'RoundRobinAssigner', 1])
  await refused('NON_EMPTY_GROUP', () => admin.deleteGroups([group]))
  await member.leave()
  await admin.setOffsets({ groupId: group, topic: name, partitions: [{ partition: 0, offset: '4' }] })
  const offset = async () => (await admin.fetchOffsets({ groupId: group, topics: [name], resolveOffsets: true }))[0].partitions[0].offset
  assert.equal(await offset(), '4')
  await admin.resetOffsets({ groupId: group, topic: name, earliest: true })
  assert.equal(await offset(), '0')
  await admin.deleteGroups([group])
  await refused('GROUP_ID_NOT_FOUND', () => admin.deleteGroups([group]))
})

check('admin: reassignments', async () => {
  const name = topic('moves')
  await create(name)
  const away = { topic: name, partitionAssignment: [{ partition: 0, replicas: [99] }] }
  await refused('INVALID_REPLICA_ASSIGNMENT', () => admin.alterPartitionReassignments({ topics: [away] }))
  assert.deepEqual((await admin.listPartitionReassignments({ topics: [{ topic: name, partitions: [0] }] })).topics, [])
})

check('admin: access rules', async () => {
  const name = topic('rules')
  const rule = {
    resourceType: AclResourceTypes.TOPIC, resourceName: name, resourcePatternType: ResourcePatternTypes.PREFIXED, principal: 'User:alice',
    host: '10.0.0.1', permissionType: AclPermissionTypes.ALLOW
  }
  const operations = [AclOperationTypes.READ, AclOperationTypes.WRITE]
  await admin.createAcls({ acl: operations.map((operation) => ({ ...rule, operation })) })
  const filter = {
    resourceType: AclResourceTypes.TOPIC, resourceName: `${name}-more`, resourcePatternType: ResourcePatternTypes.MATCH,
    permissionType: AclPermissionTypes.ANY, operation: AclOperationTypes.ANY
  }
  const { resources } = await admin.describeAcls(filter)
  assert.deepEqual(resources.map((one) => [one.resourceName, one.acls.map((acl) => acl.operation).sort()]), [[name, operations]])
  const { filterResponses } = await admin.deleteAcls({ filters: [filter] })
  assert.equal(filterResponses[0].matchingAcls.length, 2)
  assert.deepEqual((await admin.describeAcls(filter)).resources, [])
})

check('auto-creation', async () => {
  const name = topic('auto')
  await produce(name, [{ value: 'x' }])
  assert.equal(String((await consume(name, 1))[0].value), 'x')
})

async function main () {
  await zstd.init()
  await admin.connect()
  let failed = 0
  for (const [name, action] of checks.filter(([name]) => name.includes(process.env.TIDELOG_CHECK ?? ''))) {
    const start = Date.now()
    let timer
    const late = new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${PATIENCE} ms`)), PATIENCE)
    })
    try {
      await Promise.race([action(), late])
      console.log(`ok    kafkajs: ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`)
    } catch (error) {
      failed++
      const line = /check\.js:(\d+)/.exec(error.stack ?? '')?.[1] ?? 0
      console.log(`FAIL  kafkajs: ${name}: line ${line}: ${String(error).replaceAll('\n', ' ').slice(0, 600)}`)
    }
    clearTimeout(timer)
  }
  await admin.disconnect()
  // A check that failed may have left a consumer behind.
  process.exit(failed ? 1 : 0)
}

// A member in a process of its own, to be killed.
if (process.argv[2] === '--member') new Member(...process.argv.slice(3)).join()
else main()
