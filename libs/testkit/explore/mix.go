package explore

// Mix folds values into a state, in order.
func Mix(state uint64, values ...uint64) uint64 {
	for _, v := range values {
		state = (state ^ v) * 0x9E3779B97F4A7C15
		state ^= state >> 29
	}
	return state
}

// MixText folds a text into a state.
func MixText[T string | []byte](state uint64, text T) uint64 {
	for i := range len(text) {
		state = (state ^ uint64(text[i])) * 1099511628211
	}
	return Mix(state, uint64(len(text)))
}
