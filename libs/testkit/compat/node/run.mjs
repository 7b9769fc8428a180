// How every script here is run:
//
//   node segment.mjs HOST KEY calls     every call once; prints the rows that must be there, in the words of want_test.go
//   node segment.mjs HOST KEY steady    event n with property n every 50 ms until its input ends; prints how many
//
// A script gives the functions that do it.
import process from 'node:process'

const [host, key, mode] = process.argv.slice(2)

// calls returns the rows. steady returns send, which sends event n, and finish, which returns when all is sent.
export async function run({ calls, steady }) {
  const result = mode === 'calls' ? await calls({ host, key }) : await keepOn(await steady({ host, key }))
  process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0))
}

async function keepOn({ send, finish }) {
  const ended = new Promise(resolve => process.stdin.on('end', resolve).resume())
  let n = 0
  const timer = setInterval(() => send(n++), 50)
  await ended
  clearInterval(timer)
  await finish()
  return n
}

// without returns an object's other fields.
export function without(object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))
}
