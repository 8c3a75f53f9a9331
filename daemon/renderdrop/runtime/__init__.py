"""What keeps the stages going: time, the schedule, tasks, troubles, the service manager.

Knows nothing of files, jobs' contents or the platform. The only room where the clock is read and
asyncio tasks are born.
"""
