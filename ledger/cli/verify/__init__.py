"""
Verify: what evidence proves, told alike whatever it is.

    command  ->  trust        whose signatures count, and the past that is known already
             ->  receipt | bundle | copy | service     one module per kind of evidence
             ->  judgement    three verdicts, the level reached, what was not checked
"""
