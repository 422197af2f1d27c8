-- Who holds the lock, and for how long; with a token: whether it is the holder's.
return answer((token == '' or ours) and YES or NO)
