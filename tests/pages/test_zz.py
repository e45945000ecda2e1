import time, cProfile, pstats, threading
def test_t(opened, monkeypatch):
    opened("eigenfeatures")
    import streamlit.runtime.scriptrunner.exec_code as ec
    pr=cProfile.Profile()
    from streamlit.navigation.page import StreamlitPage
    old=StreamlitPage.run
    def run(self):
        pr.enable()
        try: return old(self)
        finally: pr.disable()
    monkeypatch.setattr(StreamlitPage,"run",run)
    opened("eigenfeatures")
    pstats.Stats(pr).sort_stats("cumtime").print_stats(55)
