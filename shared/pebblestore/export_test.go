package pebblestore

// CountRows returns how many rows the database holds.
func (s *Store) CountRows() (n int) {
	rows, err := s.db.NewIter(nil)
	if err != nil {
		panic(err)
	}
	defer rows.Close()
	for ok := rows.First(); ok; ok = rows.Next() {
		n++
	}
	return n
}
